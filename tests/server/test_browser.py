"""An annotator's browser on the real server: pre-labels show, Submit stores them, the loop finds who saw what."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from loop.label_studio.client import LabelStudioClient
from loop.sync.connect import link_project
from loop.sync.publish import publish
from loop.sync.pull import pull
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.results import read_result, task_text, to_result
from ner.models.bundle import load_bundle
from ner.spans import Span
from ner.tagger import Tagger
from store.annotations import history
from store.database.schema import Project
from store.database.session import Store, open_store
from store.documents import open_documents
from store.projects import create_project, project_by_id
from store.registry import finish_model, promote, start_model
from store.runs import tracked
from tests.fakes import tiny_bundle
from tests.server.real_label_studio import RealLabelStudio

pytestmark = pytest.mark.browser

CONFIG = (
    '<View><Labels name="ner" toName="message"><Label value="SOFTWARE"/><Label value="OS"/></Labels>'
    '<Text name="message" value="$text"/></View>'
)
PATIENCE = 60
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1400,1000",
)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    chrome.implicitly_wait(PATIENCE)
    yield chrome
    chrome.quit()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'loop.db'}")
    yield opened
    opened.close()


@pytest.fixture
def published(store: Store, client: LabelStudioClient, tmp_path: Path) -> Project:
    """A project in Label Studio whose one open task is pre-labelled by the model in service."""
    with store.transaction() as tx:
        project = create_project(tx, "browser", label_config=CONFIG, labels=["SOFTWARE", "OS"], holdout_share=0.0)
        tx.commit()
    linked = link_project(store, client, project.id, title="browser")
    client.import_tasks(linked.ls_project_id, [{"data": {"text": "Outlook crashes on Windows since Monday"}}])
    with tracked(store, project.id, "retrain") as run, store.transaction() as tx:
        model = start_model(
            tx, project.id, run_id=run.id, encoder="tiny", seed=1, settings={}, libraries={}, data_fingerprint="0"
        )
        finish_model(tx, model.version, files={})
        promote(tx, project.id, model.version, reason="the first", who="test")
        tx.commit()
    folder = tiny_bundle(
        tmp_path / "bundle", ["SOFTWARE", "OS"], {"outlook": "SOFTWARE", "windows": "OS"}, version=model.version
    )
    with store.read() as session:
        project = project_by_id(session, project.id)
    pull(store, client, project)
    publish(store, client, project, Tagger(load_bundle(folder)))
    return project


def test_pre_labels_show_and_what_is_submitted_comes_back_with_its_parent_and_its_time(
    browser: webdriver.Chrome,
    label_studio: RealLabelStudio,
    client: LabelStudioClient,
    store: Store,
    published: Project,
) -> None:
    log_in(browser, label_studio)
    browser.get(f"{label_studio.url}/projects/{published.ls_project_id}/data")
    press(browser, "Label All Tasks")
    patiently(browser).until(lambda at: regions(at) == ["Outlook", "Windows"])
    press(browser, "Submit")
    WebDriverWait(browser, PATIENCE).until(lambda _: client.next_task(int(published.ls_project_id or 0)) is None)

    with store.read() as session:
        (document,) = open_documents(session, published.id)
    pull(store, client, published)
    with store.read() as session:
        (annotation,) = history(session, document.document_id)
    assert annotation.spans is not None
    assert [(span.start, span.end, span.label) for span in annotation.spans] == [(0, 7, "SOFTWARE"), (19, 26, "OS")]
    assert annotation.parent_prediction is not None
    assert annotation.lead_time is not None
    assert annotation.lead_time > 0
    assert {region["origin"] for region in annotation.result} == {"prediction"}


NESTED = """<View>
  <Labels name="products" toName="message"><Label value="SOFTWARE"/></Labels>
  <Labels name="faults" toName="message"><Label value="ERROR"/></Labels>
  <Text name="message" value="$data.body"/>
</View>"""
VALUES = ("Excel froze", 3.0, 0.00000015, 12345678901234567890, True, ["Excel", "froze", None, 2.0, 2**60])


def test_the_page_shows_values_as_texts_and_the_regions_of_every_control_over_the_nested_field(
    browser: webdriver.Chrome, label_studio: RealLabelStudio, client: LabelStudioClient
) -> None:
    config = LabelConfig.parse(NESTED)
    made = int(client.create_project("nested values", NESTED)["id"])
    client.import_tasks(made, [{"data": {"data": {"body": value}}} for value in VALUES])
    first, *others = sorted(client.task_ids(made, 0, 2**53))
    spans = [Span(0, 5, "SOFTWARE"), Span(6, 11, "ERROR")]
    stored = {"task": first, "result": to_result(spans, VALUES[0], config), "model_version": "m", "score": 0.5}
    assert client.import_predictions(made, [stored]) == 1
    client.update_project(made, model_version="m", show_collab_predictions=True)
    log_in(browser, label_studio)
    browser.get(f"{label_studio.url}/projects/{made}/data?task={first}")
    patiently(browser).until(lambda at: regions(at) == ["Excel", "froze"])
    for task_id in others:
        browser.get(f"{label_studio.url}/projects/{made}/data?task={task_id}")
        expected = task_text(client.http.get(f"/api/tasks/{task_id}/"), config)
        patiently(browser).until(lambda at, text=expected: shown(at) == text)


REPEATED = (
    "Nora  Falk met \U0001f469\u200d\U0001f692 Ola\u00a0Lund",
    "\r\nNora\u200bFalk left Graz.\r\n  Ola \r\nLund stayed.",
    "Name\tNora Falk\tLyon\nOla Lund\tGraz \U0001f692\nNora\tFalk left Lyon.",
)
ENTITY = re.compile(r"Nora\s*\u200b?Falk|Ola\s*Lund|Graz|Lyon")


@pytest.mark.parametrize("text", REPEATED)
def test_the_words_that_the_page_repeats_are_those_at_the_offsets(
    browser: webdriver.Chrome, label_studio: RealLabelStudio, client: LabelStudioClient, text: str
) -> None:
    config = LabelConfig.parse(CONFIG)
    made = int(client.create_project("repeated words", CONFIG)["id"])
    client.import_tasks(made, [{"data": {"text": text}}])
    (task_id,) = client.task_ids(made, 0, 2**53)
    spans = tuple(Span(found.start(), found.end(), "OS") for found in ENTITY.finditer(text))
    result = to_result(spans, text, config)
    for region in result:
        del region["value"]["text"]  # so that the page writes the words
    client.import_predictions(made, [{"task": task_id, "result": result, "model_version": "m", "score": 0.5}])
    client.update_project(made, model_version="m", show_collab_predictions=True)
    log_in(browser, label_studio)
    browser.get(f"{label_studio.url}/projects/{made}/data")
    press(browser, "Label All Tasks")
    patiently(browser).until(lambda at: len(regions(at)) >= len(spans))
    press(browser, "Submit")
    WebDriverWait(browser, PATIENCE).until(lambda _: client.next_task(made) is None)
    (annotation,) = client.http.get(f"/api/tasks/{task_id}/")["annotations"]
    assert any(region["value"].get("text") for region in annotation["result"])
    read = read_result(annotation["result"], text, config)
    assert (read.spans, read.set_aside) == (spans, ())


def shown(browser: webdriver.Chrome) -> str:
    """The text that the page shows."""
    return browser.find_element(By.CSS_SELECTOR, ".lsf-richtext__line").text


def log_in(browser: webdriver.Chrome, server: RealLabelStudio) -> None:
    browser.get(f"{server.url}/user/login/")
    browser.find_element(By.NAME, "email").send_keys(server.first.email)
    browser.find_element(By.NAME, "password").send_keys(server.first.password)
    browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    WebDriverWait(browser, PATIENCE).until(lambda at: "/user/login" not in at.current_url)


def regions(browser: webdriver.Chrome) -> list[str]:
    """The words that are marked."""
    return [region.text for region in browser.find_elements(By.CSS_SELECTOR, ".htx-highlight")]


def press(browser: webdriver.Chrome, words: str) -> None:
    """The enabled button of exactly these words, once it is there; the page may draw it anew at any moment."""

    def pressed(at: webdriver.Chrome) -> bool:
        matching = [each for each in at.find_elements(By.TAG_NAME, "button") if each.text.strip() == words]
        if not matching or not matching[0].is_enabled():
            return False
        matching[0].click()
        return True

    patiently(browser).until(pressed)


def patiently(browser: webdriver.Chrome) -> WebDriverWait[webdriver.Chrome]:
    """A wait that looks again where the page has drawn something anew."""
    drawn_anew = (StaleElementReferenceException, ElementClickInterceptedException)
    return WebDriverWait(browser, PATIENCE, ignored_exceptions=drawn_anew)
