"""What can be probed on Label Studio: the address, the key, and the project's settings. Each is a known trap.

Nothing is changed there. Where no call reads a setting, a request is sent that the server must refuse anyway: the
refusal says what the server would have allowed.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from functools import partial
from urllib.parse import urlsplit

import requests

from loop.doctor.checks import Check, fail, ok, run_check, try_to_get, warn
from loop.label_studio.client import UNCERTAINTY, Json, LabelStudioClient, LabelStudioError
from loop.settings.settings import Settings
from loop.sync.connect import BackendAccount
from ner.label_studio.label_config import LabelConfig
from store.database.schema import Project
from store.predictions import is_of_votes

_TESTED_RELEASE = "1.23"
_SECONDS = 5.0
_ALLOW_LOCAL = (
    "Start Label Studio with LABEL_STUDIO_ML_BLOCK_LOCAL_IP=false and LABEL_STUDIO_SSRF_PROTECTION_ENABLED=false: "
    "by default it refuses to call local and private addresses."
)
_PUBLISH = "`loop publish` sends the current predictions and then sets it."
_CONNECT = "`loop connect` leaves exactly one."


def check_address(url: str) -> Check:
    """Whether Label Studio, and nothing else, answers there, and which release."""
    try:
        answer = requests.get(f"{url}/api/version", timeout=_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        mend = "Start Label Studio, or correct LABEL_STUDIO_URL."
        return fail(f"{url} does not answer: {type(error).__name__}", mend)
    if answer.is_redirect:
        where = answer.headers.get("Location", "elsewhere")
        return fail(f"{url} redirects to {where}", "Set LABEL_STUDIO_URL to that address.")
    release = _json(answer).get("release")
    if release is None:
        mend = "Correct LABEL_STUDIO_URL: another program listens there."
        return fail(f"{url} answers {answer.status_code}, but not as Label Studio", mend)
    if not release.startswith(_TESTED_RELEASE):
        return warn(f"release {release} at {url}", f"Expect surprises; this was made for {_TESTED_RELEASE}.")
    return ok(f"release {release} at {url}")


def check_key(client: LabelStudioClient, key: str) -> Check:
    """Which kind of key it is, and whether the server takes it."""
    try:
        user = client.whoami()
    except LabelStudioError as error:
        if error.status in (401, 403):
            return fail(f"a {_kind(key)} key that the server refuses: {error.value}", error.next_step)
        raise
    return ok(f"{_kind(key)}, of {user.get('email', 'a user without address')}")


def check_legacy_tokens(client: LabelStudioClient, key: str) -> Check:
    """A legacy key ends working for good when the organization turns them off."""
    if client.http.get("/api/jwt/settings").get("legacy_api_tokens_enabled"):
        return ok("enabled")
    if _kind(key) == "personal":
        return ok("disabled, and not needed")
    mend = 'POST {"legacy_api_tokens_enabled": true} to /api/jwt/settings, or use a personal token.'
    return warn("disabled in the organization", mend)


def _kind(key: str) -> str:
    return "personal" if key.count(".") == 2 else "legacy"


def check_project(client: LabelStudioClient, project: Project) -> Iterator[Check]:
    """The link, the label config there, and the settings that the queue and the pre-labels depend on."""
    ls_id = project.ls_project_id
    if ls_id is None:
        mend = "`loop connect` makes or links one there."
        yield run_check("link", warn, "the project is in no Label Studio yet", mend)
        return
    if project.ls_url != client.url:
        found = f"linked to {project.ls_url}, but the settings say {client.url}"
        yield run_check("link", fail, found, "Correct LABEL_STUDIO_URL, or link anew: `loop connect`.")
        return
    link = try_to_get("link", partial(client.project, ls_id), _linked)
    yield link.check
    there = link.value
    if there is not None:
        yield run_check("label config there", _label_config, there, project)
        yield run_check("model_version", _model_version, client, there, project)
        yield run_check("sampling", _sampling, there)
        yield run_check("show_collab_predictions", _pre_labels, there)


def _linked(there: Json) -> Check:
    return ok(f"project {there['id']}, {there.get('title')!r}, {there.get('task_number')} tasks")


def _label_config(there: Json, project: Project) -> Check:
    labels = list(LabelConfig.parse(str(there.get("label_config"))).labels)
    if sorted(labels) == sorted(project.labels):
        return ok("the same labels as here")
    return warn(f"{', '.join(labels)}; here {', '.join(project.labels)}", "`loop pull` takes it over.")


def _model_version(client: LabelStudioClient, there: Json, project: Project) -> Check:
    """The queue orders by the predictions of this version, and the page shows them."""
    versions = client.model_versions(there["id"])
    titles = {str(row.get("title")) for row in client.backends(there["id"])}
    current, ours = there.get("model_version"), project.promoted_version
    if ours is None and is_of_votes(current) and current in versions:
        return ok(f"{current!r}, the agreed votes, on {versions[current]:,} predictions")
    if ours is None and (not current or current in titles):  # connecting a backend sets its title
        mend = "`loop publish` sends the agreed votes of the sources of weak labels; or promote a model first."
        return warn("no model is in service yet: the queue is random", mend)
    if not current:
        return warn("unset: no pre-labels are shown and the queue is random", _PUBLISH)
    if current in titles:
        hidden = "stored pre-labels are not shown and the queue is random"
        return fail(f"names the live backend {current!r}: {hidden}", _PUBLISH)
    if current not in versions:
        return fail(f"{current!r} stands on no prediction: the queue is random", _PUBLISH)
    if current != ours:
        return warn(f"{current!r}, but {ours!r} is in service", _PUBLISH)
    return ok(f"{current!r}, on {versions[current]:,} predictions")


def _sampling(there: Json) -> Check:
    found = str(there.get("sampling"))
    if found == UNCERTAINTY:
        return ok(found)
    mend = f"`loop publish` sets it; or choose {UNCERTAINTY} under Settings, Annotation."
    return warn(f"{found}: the least certain tasks do not come first", mend)


def _pre_labels(there: Json) -> Check:
    if there.get("show_collab_predictions") is not False:
        return ok("on: pre-labels are shown")
    mend = "`loop publish` turns it on; or Settings, Annotation, Use predictions to prelabel tasks."
    return warn("off: annotators see no pre-labels", mend)


def check_backend_rows(client: LabelStudioClient, project: Project, account: BackendAccount) -> Iterator[Check]:
    """The ML backend as the project knows it: one connected row, one webhook, and an address that may be called."""
    ls_id = project.ls_project_id
    if ls_id is None:
        return
    yield run_check("backend row", lambda: _row(client.backends(ls_id), client.webhooks(ls_id), account))
    yield run_check("webhook", lambda: _hook(client.webhooks(ls_id), account))
    yield run_check("backend address", _address, client, ls_id, account)


def _row(rows: Sequence[Json], hooks: Sequence[Json], account: BackendAccount) -> Check:
    ours = [row for row in rows if str(row.get("url")).rstrip("/") == account.url.rstrip("/")]
    if not ours:
        others = f"; others: {', '.join(str(row.get('url')) for row in rows)}" if rows else ""
        return warn(f"{account.url} is not connected{others}", "`loop connect`, while the backend runs.")
    if len(ours) > 1:
        return fail(f"{len(ours)} rows for {account.url}: each is asked for every task", _CONNECT)
    if not any(hook.get("url") == account.webhook_url for hook in hooks):
        return fail("half-made: it has no webhook", f"{_CONNECT} {_ALLOW_LOCAL}")
    if ours[0].get("state") != "CO":
        said = ours[0].get("error_message") or ours[0].get("readable_state")
        return fail(f"not connected: {said}", "Start the backend (`loop serve`), then `loop connect`.")
    return ok(f"{account.url}, connected")


def _hook(hooks: Sequence[Json], account: BackendAccount) -> Check:
    mend = "`loop connect` mends it. Until then news is pulled by the clock alone."
    ours = [hook for hook in hooks if hook.get("url") == account.webhook_url]
    if not ours:
        return warn(f"none to {account.webhook_url}", mend)
    if len(ours) > 1:
        return warn(f"{len(ours)} to {account.webhook_url}: each event comes as often", mend)
    if not ours[0].get("is_active"):
        return warn("inactive", mend)
    if not ours[0].get("send_for_all_actions") and not ours[0].get("actions"):
        return warn("it has no actions, so nothing is sent", mend)
    return ok(f"one, to {account.webhook_url}")


def _address(client: LabelStudioClient, ls_id: int, account: BackendAccount) -> Check:
    """Ask for a backend and a webhook that cannot be made: a 400 says that the address would have been allowed."""
    half = {"project": ls_id, "url": account.url, "auth_method": "BASIC_AUTH"}
    hook = {"project": ls_id, "url": account.webhook_url, "actions": ["NO_SUCH_ACTION"]}
    for path, body, what in (("/api/ml", half, "the ML backend"), ("/api/webhooks/", hook, "the webhook")):
        try:
            client.http.post(path, body)
        except LabelStudioError as error:
            if error.status == 403:
                return fail(f"Label Studio refuses {account.url} for {what}: {error.value}", _ALLOW_LOCAL)
            if error.status != 400:
                raise
    return ok(f"Label Studio may call {account.url}")


def check_backend(settings: Settings, account: BackendAccount, project: Project | None = None) -> Check:
    """Whether the backend's port is free, our backend's, or another program's; and whether ours serves this project."""
    url = account.url
    another_port = f"set PORT (now {settings.backend.port}) to another one."
    if not _listens(url):
        if settings.label_studio.url is None:
            return ok(f"{url} is free; `loop serve` would listen there")
        mend = "Start it: `loop serve`. Stored pre-labels and the queue work without it."
        return warn(f"nothing listens at {url}", mend)
    told, stranger = _health(account)
    if stranger:
        mend = f"Stop what listens there, or {another_port}"
        return fail(f"{url} is taken by another program ({stranger})", mend)
    if told.get("store") != "UP":
        mend = "Mend the store; the backend takes it up again by itself."
        return fail(f"{url} cannot read its store: {told.get('store')}", mend)
    has_work = project is not None and project.ls_project_id is not None and project.promoted_version is not None
    if project is not None and has_work and project.slug not in told["projects"]:
        others = ", ".join(told["projects"]) or "none"
        mend = f"If it is another project's backend: stop it, or {another_port}"
        return warn(f"{url} is our backend, but does not serve {project.slug} (it serves {others})", mend)
    problems = {one["engine_problem"] for one in told["projects"].values() if one.get("engine_problem")}
    if problems:
        mend = "See the check of the inference server; the backend uses it again by itself."
        return warn(f"{url} answers from its local bundle: {'; '.join(sorted(problems))}", mend)
    return ok(f"{url} answers: {told['status']}")


def _health(account: BackendAccount) -> tuple[Json, str]:
    """(what our backend says of itself, ""); else ({}, what shows that another program listens there)."""
    try:
        answer = requests.get(f"{account.url}/health", headers=account.headers, timeout=_SECONDS)
    except requests.RequestException as error:
        return {}, f"no HTTP: {type(error).__name__}"
    told = _json(answer)
    if not answer.ok or "status" not in told:
        return {}, f"{answer.status_code} for /health"
    if "projects" not in told:
        return {}, f"an ML backend, but not ours: {str(told)[:60]}"
    return told, ""


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), _SECONDS).close()
    except OSError:
        return False
    return True


def _json(answer: requests.Response) -> Json:
    """The JSON object of an answer; empty for anything else."""
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
