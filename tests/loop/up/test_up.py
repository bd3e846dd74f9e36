"""What `scripts/up` is made of: ports, the held folder, credentials, and children that never outlive their parent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url

from loop.files.importing import import_file
from loop.files.reading import Request
from loop.settings.settings import Settings
from loop.settings.toml_text import with_values
from loop.up.__main__ import main
from loop.up.children import ChildError, Children
from loop.up.options import InUseError, Options, check_ports, held, read_options
from loop.up.project import (
    EXAMPLE,
    EXAMPLES,
    credentials_in,
    example_of,
    make_from_example,
    make_project,
    who_pre_labels,
)
from loop.up.startup import Startup, backend_environment, label_studio_environment, loop_environment
from loop.weak.applying import label_weakly
from ner.errors import ConfigError, InputError, RuleError
from ner.label_studio.label_config import LabelConfig
from store.database.session import open_store
from store.projects import project_by_name

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(600)",
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def options(data: Path, port: int | None = None, backend_port: int | None = None) -> Options:
    return Options(port or free_port(), backend_port or free_port(), data)


def wait_for(path: Path, word: str) -> str:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if path.exists() and word in path.read_text():
            return path.read_text()
        time.sleep(0.02)
    raise AssertionError(f"{word} never stood in {path}")


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_until_gone(pid: int) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end and is_running(pid):
        time.sleep(0.02)
    return not is_running(pid)


# Options


def test_without_words_the_known_ports_and_the_data_folder_here_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert read_options([]) == Options(8080, 9090, tmp_path / "data")
    assert read_options(["--port", "1", "--backend-port", "2", "--data", "d"]) == Options(1, 2, tmp_path / "d")


@pytest.mark.parametrize("word", ["0", "65536", "x", "-1", "8080.5"])
def test_a_port_that_is_none_is_wrong_usage(word: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        read_options([f"--port={word}"])
    assert ended.value.code == 2
    assert "a port lies in 1..65535" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--port", "--backend-port"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_busy_port_is_an_error_that_names_it_and_the_option(tmp_path: Path, option: str, host: str):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        chosen = options(tmp_path, port) if option == "--port" else options(tmp_path, None, port)
        with pytest.raises(ConfigError, match=f"{option} is free: got {port} is in use"):
            check_ports(chosen)


def test_one_port_for_both_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="differ"):
        check_ports(options(tmp_path, 8080, 8080))
    check_ports(options(tmp_path))


def test_a_data_folder_is_held_by_one_and_free_again_afterwards(tmp_path: Path):
    with held(tmp_path / "data"), pytest.raises(InUseError), held(tmp_path / "data"):
        pass
    with held(tmp_path / "data"):
        pass


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_data_folder_that_is_a_file_is_refused_in_one_line(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("mine")
    assert main(["--data", str(tmp_path / name)], {}) == 3
    said = capsys.readouterr().err
    assert "--data names a folder" in " ".join(said.split())
    assert "Traceback" not in said
    assert (tmp_path / "file").read_text() == "mine"


# Credentials and environments


def test_credentials_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path):
    first, second = credentials_in(tmp_path), credentials_in(tmp_path)
    assert first == second
    assert len(first.api_key) == 40
    assert first.password not in repr(first)
    for name in ("credentials", "api-key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "api-key").read_text().strip() == first.api_key


def test_credentials_that_are_none_are_refused_and_not_replaced(tmp_path: Path):
    (tmp_path / "credentials").write_text("mine")
    with pytest.raises(ConfigError):
        credentials_in(tmp_path)
    assert (tmp_path / "credentials").read_text() == "mine"


def test_label_studio_gets_none_of_our_variables_and_may_call_this_machine(tmp_path: Path):
    ours = {
        "PORT": "1",
        "HOST": "h",
        "LOG_LEVEL": "x",
        "LABEL_STUDIO_API_KEY": "k",
        "BASIC_AUTH_PASS": "p",
        "PATH": "p",
    }
    given = label_studio_environment(ours, options(tmp_path), credentials_in(tmp_path))
    assert not {"PORT", "HOST", "LOG_LEVEL", "LABEL_STUDIO_API_KEY", "BASIC_AUTH_PASS"} & given.keys()
    assert given["PATH"] == "p"
    assert given["LABEL_STUDIO_ML_BLOCK_LOCAL_IP"] == given["LABEL_STUDIO_SSRF_PROTECTION_ENABLED"] == "false"


def test_children_are_told_their_own_places_whatever_the_shell_says(tmp_path: Path):
    chosen, user = options(tmp_path), credentials_in(tmp_path)
    shell = {
        "LOOP_STORE_URL": "sqlite:///other",
        "MODEL_DIR": "other",
        "LOOP_HOME": "other",
        "LABEL_STUDIO_URL": "http://o",
        "LOOP_STORE_URL_FILE": "other",
        "LABEL_STUDIO_API_KEY_FILE": "other",
    }
    commands, backend = loop_environment(shell, chosen, user), backend_environment(shell, chosen)
    assert not {"LOOP_STORE_URL", "MODEL_DIR", "LOOP_HOME"} & commands.keys()
    assert not [name for name in (*commands, *backend) if name.endswith("_FILE")]
    assert commands["LABEL_STUDIO_URL"] == chosen.url
    assert backend["LOOP_STORE_URL"] == f"sqlite:///{tmp_path}/project/loop.db"
    odd = options(tmp_path / "50% sure?")
    assert make_url(backend_environment({}, odd)["LOOP_STORE_URL"]).database == str(odd.project / "loop.db")
    assert backend["PORT"] == str(chosen.backend_port)
    assert "LABEL_STUDIO_API_KEY" not in backend


# Children


def test_a_child_writes_to_its_log_and_ends_with_its_parent(tmp_path: Path):
    children = Children(tmp_path)
    child = children.start("sleeper", SLEEPER, os.environ)
    wait_for(children.log("sleeper"), "up")
    children.stop()
    assert child.returncode == -signal.SIGTERM


def test_a_child_that_ignores_the_signal_is_killed_after_a_time(tmp_path: Path):
    children = Children(tmp_path)
    child = children.start("stubborn", STUBBORN, os.environ)
    wait_for(children.log("stubborn"), "up")
    children.stop(seconds=0.2)
    assert child.returncode == -signal.SIGKILL


def test_what_a_child_started_goes_with_it(tmp_path: Path):
    children = Children(tmp_path)
    children.start("parent", PARENT, os.environ)
    grandchild = int(wait_for(children.log("parent"), "\n"))
    children.stop()
    assert wait_until_gone(grandchild)


def test_what_a_child_left_behind_when_it_died_goes_too(tmp_path: Path):
    children = Children(tmp_path)
    child = children.start("parent", PARENT, os.environ)
    grandchild = int(wait_for(children.log("parent"), "\n"))
    child.kill()
    child.wait()
    with pytest.raises(ChildError, match="SIGKILL"):
        children.check()
    children.stop()
    assert wait_until_gone(grandchild)


def test_a_child_that_dies_is_reported_with_the_end_of_its_log(tmp_path: Path):
    children = Children(tmp_path)
    dying = [sys.executable, "-c", "print('before'); raise SystemExit('the reason')"]
    children.start("dying", dying, os.environ)
    with pytest.raises(ChildError) as died:
        children.wait_until(lambda: False, "it answers", 20)
    children.stop()
    assert "dying" in str(died.value)
    assert "exit code 1" in str(died.value)
    assert "the reason" in str(died.value)


def test_a_command_is_run_to_its_end_and_fails_with_its_log(tmp_path: Path):
    children = Children(tmp_path)
    heard: list[str] = []
    for word in ("one", "two"):
        children.run("good", [sys.executable, "-c", f"print({word!r})"], os.environ, hear=heard.append)
    assert heard == (tmp_path / "good.log").read_text().splitlines() == ["one", "two"]
    assert children.run("eight", [sys.executable, "-c", "import sys; sys.exit(8)"], os.environ, allowed=(0, 8)) == 8
    with pytest.raises(ChildError, match="exit code 4"):
        children.run("bad", [sys.executable, "-c", "import sys; sys.exit(4)"], os.environ)
    children.check()
    children.stop()


def test_a_command_is_given_up_when_a_server_dies_meanwhile(tmp_path: Path):
    children = Children(tmp_path)
    children.start("server", [sys.executable, "-c", "import time; time.sleep(0.3)"], os.environ)
    with pytest.raises(ChildError, match="server keeps running"):
        children.run("long", SLEEPER, os.environ)
    children.stop()


def test_waiting_ends_when_the_time_is_up(tmp_path: Path):
    with pytest.raises(RuleError, match="the sun rises within 0 s"):
        Children(tmp_path).wait_until(lambda: False, "the sun rises", 0.1)


def test_a_long_wait_is_told_again_and_again_until_it_ends(tmp_path: Path):
    answers, told = iter([False, False, True]), []
    Children(tmp_path).wait_until(lambda: next(answers), "it", 600, remind=lambda: told.append("yet"), every=-1)
    assert told == ["yet", "yet"]


def test_children_of_a_parent_that_was_killed_end_too(tmp_path: Path):
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom loop.up.children import Children\n"
        f"child = Children(Path({str(tmp_path)!r})).start('sleeper', {SLEEPER!r}, os.environ)\n"
        "print(child.pid, flush=True)\ntime.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    wait_for(tmp_path / "sleeper.log", "up")
    parent.kill()
    parent.wait()
    assert wait_until_gone(pid)


def test_the_credentials_file_is_json(tmp_path: Path):
    made = credentials_in(tmp_path)
    assert json.loads((tmp_path / "credentials").read_text())["password"] == made.password


def test_up_is_ready_without_a_training_and_what_needs_no_label_studio_comes_before_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    order: list[str] = []
    chosen = options(tmp_path)
    up = Startup(chosen, credentials_in(tmp_path), Children(tmp_path / "logs"), {}, lambda _: None)
    for step in ("start_label_studio", "start_backend", "await_label_studio"):
        monkeypatch.setattr(up, step, lambda step=step: order.append(step))
    monkeypatch.setattr(up, "loop", lambda *words, **_: order.append(" ".join(words[:2])))
    monkeypatch.setattr(up.children, "start", lambda name, *_: order.append(name))
    monkeypatch.setattr("loop.up.startup.who_pre_labels", lambda _: "votes")
    up.reach_ready()
    assert [word for word in order if not word.startswith("import")] == [
        "start_label_studio",
        "weak apply",
        "start_backend",
        "await_label_studio",
        "connect --push",
        "publish",
        "loop",
    ]


def test_without_sources_and_without_a_model_nothing_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    chosen, ran, said = options(tmp_path), list[str](), list[str]()
    make_project(chosen)
    config = chosen.project / "loop.toml"
    config.write_text(config.read_text().replace('functions = "labeling_functions.py"', ""))
    (chosen.project / "weak.toml").unlink(missing_ok=True)
    assert who_pre_labels(chosen) == "nobody"
    up = Startup(chosen, credentials_in(tmp_path), Children(tmp_path / "logs"), {}, said.append)
    monkeypatch.setattr(up, "loop", lambda *words, **_: ran.append(words[0]))
    up.fill_project()
    up.publish()
    assert ran == ["import"]
    assert "nothing pre-labels yet" in said[-1]


# Signals


@pytest.fixture(params=[signal.SIG_DFL, signal.SIG_IGN], ids=["default", "ignored"])
def inherited(request: pytest.FixtureRequest) -> Iterator[None]:
    """How the process treats SIGINT when `up` begins: a shell's background job ignores it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, request.param)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("inherited")
@pytest.mark.parametrize(("step", "code"), [("reach_ready", 130), ("watch", 0)])
def test_ctrl_c_ends_the_children_with_0_after_ready_and_130_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int
):
    started: list[int] = []

    def press(up: Startup) -> None:
        started.append(up.children.start("sleeper", SLEEPER, os.environ).pid)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(20)

    monkeypatch.setattr(Startup, "reach_ready", lambda _: None)
    monkeypatch.setattr(Startup, step, press)
    words = ["--port", str(free_port()), "--backend-port", str(free_port()), "--data", str(tmp_path)]
    assert main(words, {}) == code
    assert not is_running(started[0])


@pytest.mark.usefixtures("inherited")
def test_a_second_ctrl_c_kills_a_child_that_will_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def press_twice(up: Startup) -> None:
        up.children.start("stubborn", STUBBORN, os.environ)
        wait_for(up.children.log("stubborn"), "up")
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Startup, "reach_ready", press_twice)
    stop = Children.stop
    monkeypatch.setattr(Children, "stop", lambda children: stop(children, seconds=600))
    words = ["--port", str(free_port()), "--backend-port", str(free_port()), "--data", str(tmp_path)]
    assert main(words, {}) == 130


# The ready project


def test_an_example_has_a_data_folder_of_its_own_unless_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert read_options(["--example", "it_support"]).data == tmp_path / "data"
    assert read_options(["--example", "kitchen"]).data == tmp_path / "data-kitchen"
    assert read_options(["--example", "kitchen", "--data", "d"]).data == tmp_path / "d"


def test_a_data_folder_remembers_its_example_and_is_never_used_for_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    kitchen = replace(options(tmp_path), example="kitchen")
    assert make_project(kitchen)
    assert Settings.load(kitchen.project, {}).project_name == "Kitchen notes"
    assert example_of(options(tmp_path)).name == "kitchen"
    before = (kitchen.project / "loop.toml").read_text()
    assert main(["--example", "it_support", "--data", str(tmp_path)], {}) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "a data folder holds one example" in said and "--data data-it_support" in said
    assert (kitchen.project / "loop.toml").read_text() == before
    assert not make_project(kitchen)


def test_a_data_folder_of_before_there_was_a_choice_holds_the_default_example(tmp_path: Path):
    first = options(tmp_path)
    make_project(first)
    (tmp_path / "example").unlink()
    assert example_of(first) == EXAMPLE
    with pytest.raises(ConfigError, match="one example"):
        example_of(replace(first, example="kitchen"))


def test_an_example_that_is_none_is_refused_with_the_names_of_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--example", "../kitchen", "--data", str(tmp_path)], {}) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "--example is one of " in said and "it_support, kitchen" in said


def test_an_example_brings_its_settings_and_sources_and_later_edits_of_them_stay(tmp_path: Path):
    example, home = tmp_path / "example", tmp_path / "home"
    shutil.copytree(EXAMPLES / "kitchen", example)
    (example / "labeling_functions.py").unlink()
    (example / "weak.toml").write_text("# sources\n")
    (example / "settings.toml").write_text("[gates]\nf1 = 0.8\ntypes = { TOOL = { recall = 0.7 } }\n")
    assert make_from_example(example, home, {"backend.port": 9}, environ={}, salt="s")
    settings = Settings.load(home, {})
    assert (settings.gates.f1, settings.gates.types, settings.backend.port) == (0.8, {"TOOL": {"recall": 0.7}}, 9)
    assert settings.weak_functions is None
    assert (home / "weak.toml").read_text() == "# sources\n"
    config = home / "loop.toml"
    config.write_text(with_values(config.read_text(), {"gates.f1": 0.5}))
    assert not make_from_example(example, home, {"backend.port": 8}, environ={}, salt="s")
    settings = Settings.load(home, {})
    assert (settings.gates.f1, settings.backend.port) == (0.5, 8)


def test_settings_of_an_example_that_are_no_toml_are_named(tmp_path: Path):
    example = tmp_path / "example"
    shutil.copytree(EXAMPLES / "kitchen", example)
    (example / "settings.toml").write_text("[gates\n")
    with pytest.raises(InputError, match=r"settings\.toml"):
        make_from_example(example, tmp_path / "home", {}, environ={}, salt="s")


def test_the_ready_project_is_made_once_and_follows_the_ports_without_losing_edits(tmp_path: Path):
    first, second = options(tmp_path), options(tmp_path)
    assert make_project(first)
    config = first.project / "loop.toml"
    config.write_text(with_values(config.read_text(), {"service.retrain_after": 7}) + "# mine\n")
    (first.project / "labeling_functions.py").write_text("# mine too\n")
    assert not make_project(second)
    settings = Settings.load(second.project, {})
    assert (settings.label_studio.url, settings.backend.port) == (second.url, second.backend_port)
    assert settings.service.retrain_after == 7
    assert config.read_text().endswith("# mine\n")
    assert (first.project / "labeling_functions.py").read_text() == "# mine too\n"
    assert who_pre_labels(second) == "nobody"  # until the sources have voted


def test_the_ready_projects_own_functions_vote_on_its_own_tasks(tmp_path: Path):
    chosen = options(tmp_path)
    make_project(chosen)
    settings = Settings.load(chosen.project, {})
    store = open_store(settings.store_url)
    with store.read() as session:
        project = project_by_name(session, settings.project_name)
    import_file(store, project, EXAMPLE / "tasks.jsonl", "pool", Request(LabelConfig.parse(project.label_config)))
    done = label_weakly(store, settings, project)
    store.close()
    assert done.voted > 100
    assert list(done.complaints()) == []


def test_every_ready_project_has_the_same_holdout_unless_another_salt_is_given(tmp_path: Path):
    chosen, same, other = (options(tmp_path / name) for name in ("chosen", "same", "other"))
    make_project(chosen)
    make_project(same)
    make_project(other, salt="another")
    assert salt_of(chosen) == salt_of(same) != salt_of(other)


def salt_of(chosen: Options) -> str:
    settings = Settings.load(chosen.project, {})
    store = open_store(settings.store_url)
    with store.read() as session:
        salt = project_by_name(session, settings.project_name).salt
    store.close()
    return salt


def test_an_interrupted_first_run_can_be_made_again(tmp_path: Path):
    chosen = options(tmp_path)
    make_project(chosen)
    (chosen.project / "loop.toml").unlink()
    assert make_project(chosen)
