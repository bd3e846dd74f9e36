"""All checks of a project in order. A check that depends on a failed check is left out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from loop.doctor.checks import Check, run_check, skip, try_to_get
from loop.doctor.local import (
    check_disk,
    check_doubts,
    check_encoder,
    check_engine,
    check_key_file,
    check_label_config,
    check_label_map,
    check_labels,
    check_model,
    check_runs,
    check_shared_models,
    check_store,
)
from loop.doctor.server import (
    check_address,
    check_backend,
    check_backend_rows,
    check_key,
    check_legacy_tokens,
    check_project,
)
from loop.label_studio.client import LabelStudioClient, Patience
from loop.settings.model import LOCAL
from loop.settings.project import current_project
from loop.settings.settings import Settings
from loop.sync.connect import BackendAccount
from store.database.schema import Project
from store.database.session import open_store

# A doctor asks once: a server that does not answer is a finding.
_IMPATIENT = Patience(connect=3.0, read=20.0, retries=0)


def diagnose(settings: Settings) -> Iterator[Check]:
    """Every check, one after the other, so that each can be shown as soon as it is made."""
    opened = try_to_get("store", partial(open_store, settings.store_url, migrate=False), partial(check_store, settings))
    yield opened.check
    store, project = opened.value, None
    if store is not None:
        known = try_to_get("project", partial(current_project, store, settings), check_labels)
        yield known.check
        project = known.value
        if project is not None:
            yield run_check("label config", check_label_config, project)
            yield run_check("label map", check_label_map, project)
            yield run_check("texts in doubt", check_doubts, store, project)
            yield run_check("shared models", check_shared_models, store, settings, project)
            yield run_check("model in service", check_model, store, settings, project)
            if settings.backend.engine != LOCAL:
                yield run_check("inference server", check_engine, store, settings, project)
            yield run_check("interrupted runs", check_runs, store, project)
        store.close()
    yield run_check("encoder", check_encoder, settings)
    yield run_check("disk space for models", check_disk, settings.model_dir)
    yield run_check("API key file", check_key_file, settings)
    account = account_of(settings)
    yield run_check("backend", check_backend, settings, account, project)
    yield from _diagnose_server(settings, project, account)


def _diagnose_server(settings: Settings, project: Project | None, account: BackendAccount) -> Iterator[Check]:
    url, key = settings.label_studio.url, settings.label_studio.api_key
    if url is None:
        yield run_check("Label Studio", skip, "no address: set LABEL_STUDIO_URL to check it")
        return
    answering = run_check("Label Studio", check_address, url)
    yield answering
    if answering.state == "fail":
        return
    if key is None:
        yield run_check("Label Studio", skip, "no API key: set LABEL_STUDIO_API_KEY to check further")
        return
    client = LabelStudioClient(url, key, patience=_IMPATIENT)
    accepted = run_check("API key", check_key, client, key)
    yield accepted
    if accepted.state == "fail":
        return
    yield run_check("legacy tokens", check_legacy_tokens, client, key)
    if project is not None:
        yield from check_project(client, project)
        if project.ls_url == client.url:
            yield from check_backend_rows(client, project, account)


def account_of(settings: Settings) -> BackendAccount:
    """Where Label Studio reaches our backend, with its basic auth."""
    backend = settings.backend
    return BackendAccount(backend.address, backend.basic_auth_user, backend.basic_auth_pass)
