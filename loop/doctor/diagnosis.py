"""All checks of a project in order; those that hang on one that failed are left out."""

from __future__ import annotations

from collections.abc import Iterator

from loop.doctor.checks import Check, guarded
from loop.doctor.local import check_machine, check_project_here, check_store
from loop.doctor.server import (
    check_address,
    check_backend,
    check_backend_rows,
    check_key,
    check_project,
    no_server,
)
from loop.label_studio.client import LabelStudioClient, Patience
from loop.settings.settings import Settings
from loop.sync.connect import BackendAccount
from store.schema import Project

# A doctor asks once: what does not answer is a finding.
_IMPATIENT = Patience(connect=3.0, read=20.0, retries=0)


def diagnose(settings: Settings) -> Iterator[Check]:
    """Every check, one after the other, so that each can be shown as it is found."""
    findings, store, project = check_store(settings)
    try:
        yield from findings
        if store is not None and project is not None:
            yield from check_project_here(settings, store, project)
        yield from check_machine(settings)
    finally:
        if store is not None:
            store.close()
    account = account_of(settings)
    yield from guarded("backend", lambda: check_backend(settings, account, project))
    yield from _server(settings, project, account)


def _server(settings: Settings, project: Project | None, account: BackendAccount) -> Iterator[Check]:
    url, key = settings.label_studio.url, settings.label_studio.api_key
    if url is None:
        yield no_server("no address: set LABEL_STUDIO_URL to check it")
        return
    reached = list(guarded("Label Studio", lambda: check_address(url)))
    yield from reached
    if any(check.state == "fail" for check in reached):
        return
    if key is None:
        yield no_server("no API key: set LABEL_STUDIO_API_KEY to check further")
        return
    client = LabelStudioClient(url, key, patience=_IMPATIENT)
    known = list(guarded("API key", lambda: check_key(client, key)))
    yield from known
    if any(check.state == "fail" for check in known) or project is None:
        return
    yield from guarded("project there", lambda: check_project(client, project))
    if project.ls_url == client.url:
        yield from guarded("backend row", lambda: check_backend_rows(client, project, account))


def account_of(settings: Settings) -> BackendAccount:
    """Where Label Studio reaches our backend, with its basic auth."""
    backend = settings.backend
    return BackendAccount(backend.address, backend.basic_auth_user, backend.basic_auth_pass)
