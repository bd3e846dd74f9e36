"""Connect a project here with Label Studio: its project there, its ML backend, and its texts as tasks.

Every step can be repeated, also after a kill: what an earlier try has made is found again.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from loop.label_studio.client import UNCERTAINTY, LabelStudioClient, LabelStudioError, TaskQuery
from loop.sync.config_check import ConfigCheck, check_config
from loop.sync.pages import TaskReader
from loop.sync.pull import linked_project_id, pull
from loop.sync.tasks import ReadTask, read_task
from ner.documents import content_hash
from ner.errors import ConfigError
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.task_data import nested
from store.database.schema import Project
from store.database.session import Store
from store.documents import StoredDocument, open_documents
from store.projects import link, project_by_id, relocate, same_server
from store.tasks import latest_tasks

BACKEND_TITLE = "ner-annotation-loop"
_CONNECTED = "CO"
_TITLE_CHARS = (3, 50)
_TASKS_COMPARED = 50


@dataclass(frozen=True)
class Linked:
    """The project in Label Studio: made just now (`created`), or by an earlier try (`found_again`).

    check: what its label config and its tasks were found to be; None when it was made by `loop connect`.
    """

    ls_project_id: int
    created: bool
    found_again: bool = False
    check: ConfigCheck | None = None


@dataclass(frozen=True)
class BackendAccount:
    """Where Label Studio reaches the ML backend, and the user and password of its basic auth (empty for none)."""

    url: str
    user: str = ""
    password: str = ""

    @property
    def webhook_url(self) -> str:
        """Where Label Studio sends events."""
        return self.url.rstrip("/") + "/webhook"

    @property
    def headers(self) -> dict[str, str]:
        """The headers that let a webhook's request pass basic auth; Label Studio sends none by itself."""
        if not self.user:
            return {}
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {token}"}


@dataclass(frozen=True)
class BackendConnected:
    """What stands in Label Studio now, and what was removed to get there."""

    backend_id: int
    added: bool
    rows_removed: int
    webhooks_removed: int


def link_project(
    store: Store, client: LabelStudioClient, project_id: int, *, ls_project_id: int | None = None, title: str = ""
) -> Linked:
    """Link our project to `ls_project_id`, else to the project it is linked to, else to a new project.

    The new project has our label config. If an earlier try was killed after it made the project and before it linked
    it, that project is found again by its description. Raises LabelStudioError when the project cannot be read,
    RefusedError when it feeds another project here, ConfigError for a second server while documents are tied to the
    tasks of the first, and what `check_config` raises for a project that nothing can be pulled from.
    """
    with store.read() as session:
        project = project_by_id(session, project_id)
        tied = bool(latest_tasks(session, project_id, 1))
    if tied and not same_server(project, client.url):
        raise _second_server(project, client.url)
    known = project.ls_project_id if same_server(project, client.url) else None
    wanted = ls_project_id if ls_project_id is not None else known
    if wanted is not None:
        settings = client.project(wanted)
        check = check_config(client, project, settings)
        linked = Linked(int(settings["id"]), created=False, check=check)
    else:
        linked = _made(client, project, _fit_title(title or project.name))
    with store.transaction() as tx:
        link(tx, project_id, client.url, linked.ls_project_id)
        tx.commit()
    return linked


def follow_server(store: Store, client: LabelStudioClient, project: Project) -> bool:
    """Keep the link when its server has a new address, which is the client's; False when the address is not new.

    Raises ConfigError when the server at the new address holds none of the tasks that are known here, RefusedError when
    its project feeds another project here.
    """
    if project.ls_project_id is None or same_server(project, client.url):
        return False
    _check_same_tasks(store, client, project, project.ls_project_id)
    with store.transaction() as tx:
        relocate(tx, project.id, client.url)
        tx.commit()
    return True


def prepare_queue(client: LabelStudioClient, ls_project_id: int) -> None:
    """Set uncertainty sampling and the showing of pre-labels, as `publish` does for every new version."""
    client.update_project(ls_project_id, sampling=UNCERTAINTY, show_collab_predictions=True)


def connect_backend(client: LabelStudioClient, ls_project_id: int, account: BackendAccount) -> BackendConnected:
    """Leave exactly one connected row and exactly one webhook for this backend in the project.

    Other rows of its URL are removed: half-made rows, duplicates, and rows with another user. Label Studio would ask
    these for predictions, too. Label Studio must be able to reach the backend now. Raises LabelStudioError.
    """
    ours = [row for row in client.backends(ls_project_id) if str(row["url"]).rstrip("/") == account.url.rstrip("/")]
    kept = next((row for row in ours if _serves(row, account)), None)
    removed = [row for row in ours if row is not kept]
    for row in removed:
        client.delete_backend(int(row["id"]))
    row = kept or _add(client, ls_project_id, account)
    return BackendConnected(int(row["id"]), kept is None, len(removed), _one_webhook(client, ls_project_id, account))


def _made(client: LabelStudioClient, project: Project, title: str) -> Linked:
    mark = _mark(project)
    orphan = next((one for one in client.projects(title) if mark in str(one.get("description"))), None)
    if orphan is not None:
        return Linked(int(orphan["id"]), created=False, found_again=True)
    made = client.create_project(title, project.label_config, description=f"Made by `loop connect` ({mark}).")
    return Linked(int(made["id"]), created=True)


def _mark(project: Project) -> str:
    """A mark that tells the project in Label Studio that was made for ours from any other project of its title.

    Two stores may hold projects of one name and one salt, but hardly any that were made at the same microsecond.
    """
    own = f"{project.slug} {project.salt} {project.created_at.isoformat()}"
    return "loop-" + hashlib.sha256(own.encode()).hexdigest()[:12]


def _check_same_tasks(store: Store, client: LabelStudioClient, project: Project, ls_project_id: int) -> None:
    """One known task with its known text is enough: ids alone begin at 1 on every server."""
    with store.read() as session:
        known = latest_tasks(session, project.id, _TASKS_COMPARED)
    config = LabelConfig.parse(str(client.project(ls_project_id)["label_config"]))
    page = TaskReader(client, ls_project_id).read(TaskQuery(ids=tuple(known))) if known else None
    read = [read_task(task, config) for task in page.tasks] if page is not None else []
    same = any(isinstance(task, ReadTask) and known[task.task_id] == content_hash(task.document.text) for task in read)
    if known and not same:
        raise ConfigError(
            "a server that has moved holds the tasks that are known here",
            value=f"none of {len(known)} looked for in project {ls_project_id} on {client.url}",
            next_step=f"Correct LABEL_STUDIO_URL: the project was linked to {project.ls_url}. {_ANOTHER}",
        )


_ANOTHER = "For another server make another project with `loop init`."


def _second_server(project: Project, url: str) -> ConfigError:
    return ConfigError(
        "a project's tasks are those of one Label Studio server",
        value=f"tasks of project {project.ls_project_id} on {project.ls_url}, and now {url}",
        next_step=f"If it is the same server at a new address: `loop connect --moved`. {_ANOTHER}",
    )


def _serves(row: dict[str, Any], account: BackendAccount) -> bool:
    return row.get("state") == _CONNECTED and (row.get("basic_auth_user") or "") == account.user


def _add(client: LabelStudioClient, ls_project_id: int, account: BackendAccount) -> dict[str, Any]:
    before = {int(row["id"]) for row in client.backends(ls_project_id)}
    try:
        return client.add_backend(ls_project_id, account.url, BACKEND_TITLE, account.user, account.password)
    except LabelStudioError as error:
        for row in client.backends(ls_project_id):
            if int(row["id"]) not in before:
                client.delete_backend(int(row["id"]))
        raise _explained(error, account) from error


def _explained(error: LabelStudioError, account: BackendAccount) -> LabelStudioError:
    if error.status == 403:
        advice = (
            "Start Label Studio with LABEL_STUDIO_ML_BLOCK_LOCAL_IP=false and LABEL_STUDIO_SSRF_PROTECTION_ENABLED="
            "false: by default it refuses local and private addresses."
        )
    else:
        advice = (
            "Start the ML backend first (`loop serve`), and give both sides the same BASIC_AUTH_USER and "
            "BASIC_AUTH_PASS; or connect without it: --no-backend."
        )
    return LabelStudioError(
        f"Label Studio can connect the ML backend at {account.url}",
        value=error.value,
        next_step=advice,
        status=error.status,
    )


def _one_webhook(client: LabelStudioClient, ls_project_id: int, account: BackendAccount) -> int:
    """Leave one webhook, with our headers; gives the number of webhooks that were removed.

    Label Studio makes a webhook for each backend that is connected. The webhook has no basic auth, and stays when the
    backend goes.
    """
    ours = [hook for hook in client.webhooks(ls_project_id) if hook["url"] == account.webhook_url]
    if ours:
        client.update_webhook(int(ours[0]["id"]), account.webhook_url, account.headers)
    else:
        client.create_webhook(ls_project_id, account.webhook_url, account.headers)
    for hook in ours[1:]:
        client.delete_webhook(int(hook["id"]))
    return len(ours[1:])


def _fit_title(title: str) -> str:
    shortest, longest = _TITLE_CHARS
    return title[:longest].ljust(shortest, "-")


def make_tasks(store: Store, client: LabelStudioClient, project: Project) -> int:
    """Make tasks of the open documents that are no tasks yet; gives how many were made.

    A pull before finds the tasks of an earlier try that was cut short. A pull after ties the new tasks to their
    documents, by the id that each task carries in its meta. Labelled documents stay here: their labels are known.
    """
    pull(store, client, project)
    with store.read() as session:
        row = project_by_id(session, project.id)
        waiting = [doc for doc in open_documents(session, project.id) if doc.ls_task_id is None]
    if not waiting:
        return 0
    field = LabelConfig.parse(row.label_config).data_field
    made = client.import_tasks(linked_project_id(row, client), [_task(document, field) for document in waiting])
    pull(store, client, project)
    return made


def _task(document: StoredDocument, field: str) -> dict[str, Any]:
    """The text as data, everything else as meta, where it is kept and not shown."""
    group = {"doc": document.group_key} if document.group_key != document.content_hash else {}
    return {
        "data": nested(field, document.text),
        "meta": {**document.meta, **group, "id": document.external_id},
    }
