"""What can be probed on Label Studio: the address, the key, and the project's settings, each a known trap.

Nothing is changed there: what has no reading call is probed by requests that the server must refuse anyway, whose
refusal says what it would have allowed.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

from loop.doctor.checks import Check, fail, guarded, ok, skip, warn
from loop.label_studio.client import UNCERTAINTY, LabelStudioClient, LabelStudioError
from loop.settings.settings import Settings
from loop.sync.connect import BackendAccount
from ner.label_config import LabelConfig
from store.schema import Project

_TESTED_RELEASE = "1.23"
_SECONDS = 5.0
_LET_IT = (
    "Start Label Studio with LABEL_STUDIO_ML_BLOCK_LOCAL_IP=false and LABEL_STUDIO_SSRF_PROTECTION_ENABLED=false: "
    "by default it refuses to call local and private addresses."
)
_PUBLISH = "`loop publish` sends the current predictions and then sets it."

Json = Mapping[str, Any]


def check_address(url: str) -> list[Check]:
    """That Label Studio, and nothing else, answers there, and which release."""
    name = "Label Studio"
    try:
        answer = requests.get(f"{url}/api/version", timeout=_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        mend = "Start Label Studio, or correct LABEL_STUDIO_URL."
        return [fail(name, f"{url} does not answer: {type(error).__name__}", mend)]
    release = _release(answer)
    if answer.is_redirect:
        where = answer.headers.get("Location", "elsewhere")
        return [fail(name, f"{url} redirects to {where}", "Set LABEL_STUDIO_URL to that address.")]
    if release is None:
        mend = "Correct LABEL_STUDIO_URL: another program listens there."
        return [fail(name, f"{url} answers {answer.status_code}, but not as Label Studio", mend)]
    if not release.startswith(_TESTED_RELEASE):
        mend = f"Expect surprises; this was made for {_TESTED_RELEASE}."
        return [warn(name, f"release {release} at {url}", mend)]
    return [ok(name, f"release {release} at {url}")]


def check_key(client: LabelStudioClient, key: str) -> list[Check]:
    """Which kind of key it is, and whether the server takes it."""
    name = "API key"
    kind = "personal" if key.count(".") == 2 else "legacy"
    try:
        user = client.whoami()
    except LabelStudioError as error:
        if error.status in (401, 403):
            return [fail(name, f"a {kind} key that the server refuses: {error.value}", error.next_step)]
        raise
    return [ok(name, f"{kind}, of {user.get('email', 'a user without address')}"), *_legacy_tokens(client, kind)]


def _legacy_tokens(client: LabelStudioClient, kind: str) -> Iterator[Check]:
    """A legacy key ends working for good when the organization turns them off."""
    name = "legacy tokens"
    enabled = client.http.get("/api/jwt/settings").get("legacy_api_tokens_enabled")
    if enabled:
        yield ok(name, "enabled")
    elif kind == "legacy":
        mend = 'POST {"legacy_api_tokens_enabled": true} to /api/jwt/settings, or use a personal token.'
        yield warn(name, "disabled in the organization", mend)
    else:
        yield ok(name, "disabled, and not needed")


def check_project(client: LabelStudioClient, project: Project) -> Iterator[Check]:
    """The link, the label config there, and the settings that the queue and the pre-labels hang on."""
    if project.ls_project_id is None:
        yield warn("link", "the project is in no Label Studio yet", "`loop connect` makes or links one there.")
        return
    if project.ls_url != client.url:
        found = f"linked to {project.ls_url}, but the settings say {client.url}"
        yield fail("link", found, "Correct LABEL_STUDIO_URL, or link anew: `loop connect`.")
        return
    there = client.project(project.ls_project_id)
    yield ok("link", f"project {project.ls_project_id}, {there.get('title')!r}, {there.get('task_number')} tasks")
    yield from guarded("label config there", lambda: _label_config(there, project))
    yield _model_version(there, client.model_versions(project.ls_project_id), _titles(client, project), project)
    yield _sampling(there)
    yield _pre_labels(there)


def _label_config(there: Json, project: Project) -> Check:
    name = "label config there"
    labels = list(LabelConfig.parse(str(there.get("label_config"))).labels)
    if sorted(labels) == sorted(project.labels):
        return ok(name, "the same labels as here")
    return warn(name, f"{', '.join(labels)}; here {', '.join(project.labels)}", "`loop pull` takes it over.")


def _titles(client: LabelStudioClient, project: Project) -> set[str]:
    return {str(row.get("title")) for row in client.backends(project.ls_project_id or 0)}


def _model_version(there: Json, versions: Mapping[str, int], titles: set[str], project: Project) -> Check:
    """The queue orders by the predictions of this version, and the page shows them."""
    name, current, ours = "model_version", there.get("model_version"), project.promoted_version
    if ours is None and (not current or current in titles):  # connecting a backend sets its title
        return warn(name, "no model is in service yet: the queue is random", "Promote one, then `loop publish`.")
    if not current:
        return warn(name, "unset: no pre-labels are shown and the queue is random", _PUBLISH)
    if current in titles:
        finding = f"names the live backend {current!r}: stored pre-labels are not shown and the queue is random"
        return fail(name, finding, _PUBLISH)
    if current not in versions:
        return fail(name, f"{current!r} stands on no prediction: the queue is random", _PUBLISH)
    if current != ours:
        return warn(name, f"{current!r}, but {ours!r} is in service", _PUBLISH)
    return ok(name, f"{current!r}, on {versions[current]:,} predictions")


def _sampling(there: Json) -> Check:
    name, found = "sampling", str(there.get("sampling"))
    if found == UNCERTAINTY:
        return ok(name, found)
    mend = f"{_PUBLISH[:14]} sets it; or choose {UNCERTAINTY} under Settings, Annotation."
    return warn(name, f"{found}: the least certain tasks do not come first", mend)


def _pre_labels(there: Json) -> Check:
    name = "show_collab_predictions"
    if there.get("show_collab_predictions") is not False:
        return ok(name, "on: pre-labels are shown")
    mend = "`loop publish` turns it on; or Settings, Annotation, Use predictions to prelabel tasks."
    return warn(name, "off: annotators see no pre-labels", mend)


def check_backend_rows(client: LabelStudioClient, project: Project, account: BackendAccount) -> Iterator[Check]:
    """The ML backend as the project knows it: one connected row, one webhook, and an address that may be called."""
    if project.ls_project_id is None:
        return
    rows = client.backends(project.ls_project_id)
    hooks = client.webhooks(project.ls_project_id)
    yield from guarded("backend row", lambda: _rows(rows, hooks, account))
    yield from guarded("webhook", lambda: _hooks(hooks, account))
    yield from guarded("backend address", lambda: _address(client, project.ls_project_id or 0, account))


def _rows(rows: list[dict[str, Any]], hooks: list[dict[str, Any]], account: BackendAccount) -> Check:
    name, connect = "backend row", "`loop connect` leaves exactly one."
    ours = [row for row in rows if str(row.get("url")).rstrip("/") == account.url.rstrip("/")]
    if not ours:
        others = f"; others: {', '.join(str(row.get('url')) for row in rows)}" if rows else ""
        return warn(name, f"{account.url} is not connected{others}", "`loop connect`, while the backend runs.")
    if len(ours) > 1:
        return fail(name, f"{len(ours)} rows for {account.url}: each is asked for every task", connect)
    if not any(hook.get("url") == account.webhook_url for hook in hooks):
        return fail(name, "half-made: it has no webhook", f"{connect} {_LET_IT}")
    if ours[0].get("state") != "CO":
        said = ours[0].get("error_message") or ours[0].get("readable_state")
        return fail(name, f"not connected: {said}", "Start the backend (`loop serve`), then `loop connect`.")
    return ok(name, f"{account.url}, connected")


def _hooks(hooks: list[dict[str, Any]], account: BackendAccount) -> Check:
    name, connect = "webhook", "`loop connect` mends it. Until then news is pulled by the clock alone."
    ours = [hook for hook in hooks if hook.get("url") == account.webhook_url]
    if not ours:
        return warn(name, f"none to {account.webhook_url}", connect)
    if len(ours) > 1:
        return warn(name, f"{len(ours)} to {account.webhook_url}: each event comes as often", connect)
    if not ours[0].get("is_active"):
        return warn(name, "inactive", connect)
    if not ours[0].get("send_for_all_actions") and not ours[0].get("actions"):
        return warn(name, "it has no actions, so nothing is sent", connect)
    return ok(name, f"one, to {account.webhook_url}")


def _address(client: LabelStudioClient, ls_project_id: int, account: BackendAccount) -> Check:
    """Ask for a backend and a webhook that cannot be made: a 400 says that the address would have been allowed."""
    name = "backend address"
    half = {"project": ls_project_id, "url": account.url, "auth_method": "BASIC_AUTH"}
    hook = {"project": ls_project_id, "url": account.webhook_url, "actions": ["NO_SUCH_ACTION"]}
    for path, body, what in (("/api/ml", half, "the ML backend"), ("/api/webhooks/", hook, "the webhook")):
        try:
            client.http.post(path, body)
        except LabelStudioError as error:
            if error.status == 403:
                return fail(name, f"Label Studio refuses {account.url} for {what}: {error.value}", _LET_IT)
            if error.status != 400:
                raise
    return ok(name, f"Label Studio may call {account.url}")


def check_backend(settings: Settings, account: BackendAccount, project: Project | None = None) -> Check:
    """Whether the backend's port is free, our backend's, or another program's; and that ours serves this project."""
    name = "backend"
    if not _listens(account.url):
        return _nothing_there(name, settings, account)
    try:
        answer = requests.get(f"{account.url}/health", headers=account.headers, timeout=_SECONDS)
    except requests.RequestException as error:
        return _taken(name, settings, account, f"no HTTP: {type(error).__name__}")
    told = _json(answer)
    if not answer.ok or "status" not in told:
        return _taken(name, settings, account, f"{answer.status_code} for /health")
    if "projects" not in told:
        return _taken(name, settings, account, f"an ML backend, but not ours: {str(told)[:60]}")
    if told.get("store") != "UP":
        mend = "Mend the store; the backend takes it up again by itself."
        return fail(name, f"{account.url} cannot read its store: {told.get('store')}", mend)
    if _is_served(project) and project is not None and project.slug not in told["projects"]:
        others = ", ".join(told["projects"]) or "none"
        mend = f"If it is another project's backend: stop it, or set PORT (now {settings.backend.port}) to another one."
        return warn(name, f"{account.url} is our backend, but does not serve {project.slug} (it serves {others})", mend)
    return ok(name, f"{account.url} answers: {told['status']}")


def _nothing_there(name: str, settings: Settings, account: BackendAccount) -> Check:
    if settings.label_studio.url is None:
        return ok(name, f"{account.url} is free; `loop serve` would listen there")
    mend = "Start it: `loop serve`. Stored pre-labels and the queue work without it."
    return warn(name, f"nothing listens at {account.url}", mend)


def _taken(name: str, settings: Settings, account: BackendAccount, said: str) -> Check:
    mend = f"Stop what listens there, or set PORT (now {settings.backend.port}) to another one."
    return fail(name, f"{account.url} is taken by another program ({said})", mend)


def _is_served(project: Project | None) -> bool:
    return project is not None and project.ls_project_id is not None and project.promoted_version is not None


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), _SECONDS).close()
    except OSError:
        return False
    return True


def no_server(why: str) -> Check:
    """What stands for all checks of a server that is not configured."""
    return skip("Label Studio", why)


def _release(answer: requests.Response) -> str | None:
    return _json(answer).get("release")


def _json(answer: requests.Response) -> dict[str, Any]:
    """The JSON object of an answer; empty for anything else."""
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
