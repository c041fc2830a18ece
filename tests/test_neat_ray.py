"""Evaluation on a Ray cluster: `mkds_neat.cluster`."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from neat_config import config_text
from neat_envs import DRAWN, DYING
from neat_runs import SMALL, everything
from ray_nodes import LocalCluster, RemoteCluster, actors, actors_on, kill
from waiting import until

from mkds_gym.emulator.cartridge import BUNDLED_ROM
from mkds_gym.utils.leftovers import FOLDERS, remove_leftovers, shared_folder
from mkds_neat import run
from mkds_neat.cluster import RayPool, disconnect
from mkds_neat.cluster.actor import EpisodeActor
from mkds_neat.cluster.files import NodeFiles, files_of
from mkds_neat.cluster.head import Head, why_silent
from mkds_neat.cluster.versions import versions
from mkds_neat.config import parse_config
from mkds_neat.config.settings import RaySettings
from mkds_neat.episode import Ended, Finished, Progress, Started, Task
from mkds_neat.errors import ConfigError, EvaluationError, RunFolderError
from mkds_neat.evaluation import Evaluator
from mkds_neat.evolution import Evolution
from mkds_neat.individual import Individual
from mkds_neat.lanes import LanesFactory
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.results import RunFolder

TESTS = Path(__file__).parent
DRIVERS = [
    Individual(
        key,
        NetworkSpec(tuple(range(-1, -7, -1)), (0, 1), (Node(0, bias=0.1 * key), Node(1)), ()),
        {},
    )
    for key in range(1, 61)
]


def config(folder: Path, ray: str, **changes: object) -> Path:
    """A config file with these lines in ``[ray]``."""
    text = config_text(**{**SMALL, "run__output": folder / "run", "run__engine": "ray", **changes})
    path = folder / "c.ini"
    path.write_text(f"{text}\n[ray]\n{ray}\n")
    return path


@pytest.mark.parametrize(
    ("ray", "changes", "problem"),
    [
        ("address = ray://head:10001", {}, "[ray] address = ray://head:10001"),
        ("actors = 0", {}, "[ray] actors = 0"),
        ("cpus_per_actor = 0", {}, "[ray] cpus_per_actor = 0"),
        ("nodes = 3", {}, "[ray] has the unknown key nodes"),
        ("", {"run__engine": "rays"}, "(did you mean ray?)"),
        ("", {"run__viewer": "all"}, "[run] viewer = all is not possible with engine = ray"),
        ("", {"run__vectorization": "native"}, "[run] vectorization = native is not possible"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, ray, changes, problem):
    with pytest.raises(ConfigError) as error:
        parse_config(config(tmp_path, ray, **changes).read_text())
    assert problem in str(error.value).replace("'", "")


def refusal(path: Path, capsys) -> str:
    """The only line that the command prints; it has written nothing."""
    files = set(path.parent.rglob("*"))
    assert run.main([str(path), "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert set(path.parent.rglob("*")) == files
    return err


def test_missing_ray_is_an_error_that_names_the_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'mkds-gym[ray]'" in refusal(config(tmp_path, ""), capsys)


def test_address_without_a_cluster_is_an_error(tmp_path, capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
    path = config(tmp_path, f"address = {host}:{port}")
    assert f"[ray] address = {host}:{port}: no Ray cluster answers" in refusal(path, capsys)
    monkeypatch.setenv("RAY_ADDRESS", f"{host}:{port}")
    assert f"[ray] address = auto (that is {host}:{port})" in refusal(config(tmp_path, ""), capsys)


def test_machine_without_a_cluster_is_an_error_with_the_remedy(tmp_path, capsys, monkeypatch):
    def init(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.")  # as Ray does

    module = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setattr("mkds_neat.cluster.connection.import_ray", lambda: module)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    message = (
        "[ray] address = auto: found no Ray cluster; start a cluster with `ray start --head`, "
        "or write address = local in [ray]"
    )
    assert message in refusal(config(tmp_path, ""), capsys)


def test_another_server_at_the_address_is_an_error(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.close()

        thread = threading.Thread(target=answer)
        thread.start()
        path = config(tmp_path, f"address = 127.0.0.1:{server.getsockname()[1]}")
        assert "another kind of server answers" in refusal(path, capsys)
        thread.join()


def test_cluster_of_a_run_that_is_refused_ends(tmp_path, monkeypatch):
    module = SimpleNamespace(cluster_resources=lambda: {"CPU": 2.0})
    monkeypatch.setattr("mkds_neat.cluster.connect", lambda *_: module)
    ended: list[bool] = []
    monkeypatch.setattr("mkds_neat.evolution.disconnect", lambda: ended.append(True))
    settings = parse_config(config(tmp_path, "address = local").read_text())
    with (
        RunFolder.create(tmp_path / "run", settings.text) as first,
        RunFolder.open(tmp_path / "run") as second,
    ):
        first.lock()
        with pytest.raises(RunFolderError, match="process"):
            Evolution(settings, second)
        assert ended == [True]
        assert Evolution(settings, first).config.run.workers == 2
        assert ended == [True]


def test_head_that_stays_silent_is_lost(monkeypatch):
    monkeypatch.setattr("mkds_neat.cluster.head.PATIENCE", 60.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer(*answers: bytes) -> None:
            for data in answers:
                stream, _ = server.accept()
                with stream, contextlib.suppress(OSError):
                    stream.recv(100)
                    stream.sendall(data)

        settings, other = b"\0\0\0\4", b"HTTP"
        # The last two questions are those of `wait`, which goes on after a wrong answer.
        thread = threading.Thread(target=answer, args=(settings, other, other, settings))
        thread.start()
        assert why_silent(address, 60) == ""
        assert why_silent(address, 60) == "another kind of server answers"
        head = Head(address)
        head.wait()
        thread.join()
    message = re.escape(f"the head of the Ray cluster at {address} has not answered for ")
    monkeypatch.setattr("mkds_neat.cluster.head.PATIENCE", 1.0)
    with pytest.raises(EvaluationError, match=rf"{message}\d seconds \(Connection refused\)"):
        head.wait()
    with pytest.raises(EvaluationError, match=r"start a cluster again, and continue .* --resume"):
        until(head.check, 30)


def task(key: int) -> Task:
    return Task(key, DRIVERS[key].network, seed=key)


def poll_until_finished(actor: EpisodeActor, batch_seconds: float, count: int) -> list[int]:
    """Numbers of finished episodes in each answer of an actor, up to a total."""
    sizes: list[int] = []
    while sum(sizes) < count:
        _, messages = actor.poll(batch_seconds)
        sizes.append(sum(isinstance(message, Finished) for message in messages))
    return [size for size in sizes if size]


def test_actor_reports_in_batches_and_of_a_suspect_at_once():
    factory = LanesFactory(DRAWN, {"fails_after": 10**6})
    actor = EpisodeActor(factory, NodeFiles({}, {}), versions(), node="here")
    node, messages = actor.poll(0.0)
    assert node == "here"
    assert [type(message) for message in messages] == [Progress, Started]
    actor.push([task(key) for key in range(8)], at_once=False)
    assert poll_until_finished(actor, 60.0, 8)[0] == 7  # no task waits: the last one is driven
    actor.push([task(key) for key in range(4)], at_once=True)
    assert max(poll_until_finished(actor, 60.0, 4)) <= 2


def test_node_with_other_versions_is_named():
    expected = {**versions(), "numpy": "0.1"}
    actor = EpisodeActor(LanesFactory(DRAWN, {}), NodeFiles({}, {}), expected, node="here")
    (_, [_, ended]) = actor.poll(0.0)
    assert isinstance(ended, Ended)
    assert f"numpy {versions()['numpy']} instead of 0.1" in ended.error


def test_node_gets_cartridge_state_and_kept_starts_as_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    state = tmp_path / "a.state"
    state.write_bytes(b"a state")
    files = files_of("MKDS-v0", {"state": str(state)})
    paths = files.write()
    assert Path(paths["rom"]).read_bytes() == BUNDLED_ROM.read_bytes()
    assert Path(paths["state"]).read_bytes() == b"a state"
    Path(paths["rom"]).write_bytes(b"damaged")
    assert files.write() == paths
    assert Path(paths["rom"]).read_bytes() == BUNDLED_ROM.read_bytes()
    assert stat.S_IMODE(Path(paths["rom"]).parents[1].stat().st_mode) == 0o700
    # A start that the user keeps lies in a home of its own.
    monkeypatch.setenv("MKDS_HOME", str(tmp_path / "home"))
    kept = NodeFiles({"starts/x.state": files.contents[Path(paths["state"]).name]}, {}, home=True)
    kept.write()
    assert (Path(os.environ["MKDS_HOME"]) / "starts" / "x.state").read_bytes() == b"a state"
    assert os.environ["MKDS_HOME"] != str(tmp_path / "home")


def test_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"mkds-gym-{os.geteuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EvaluationError, match="is not a folder of this user"):
        files_of("MKDS-v0", {}).write()


def test_files_for_clusters_are_well_formed():
    jsonschema, yaml = pytest.importorskip("jsonschema"), pytest.importorskip("yaml")
    folder = TESTS.parent / "examples" / "cluster"
    subprocess.run(["bash", "-n", folder / "slurm.sh"], check=True)
    ray = Path(pytest.importorskip("ray").__path__[0])
    schema = json.loads((ray / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(yaml.safe_load((folder / "ray_up.yaml").read_text()), schema)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    pytest.importorskip("ray")
    cluster = LocalCluster()
    yield cluster
    disconnect()
    cluster.close()


def evaluator(cluster: LocalCluster, env: str, **kwargs: Any) -> Evaluator:
    settings = RaySettings(address=cluster.address, batch_seconds=0.1, working_dir=str(TESTS))
    pool = functools.partial(RayPool, settings=settings)
    return Evaluator(env, kwargs, workers=2, seed=1, make_pool=pool)


def fitness(results: Any) -> list[tuple[int, float, int]]:
    return [(r.id, r.fitness, r.record.steps) for r in results]


@pytest.fixture(scope="module")
def drawn() -> list[tuple[int, float, int]]:
    with Evaluator(DRAWN, {"fails_after": 10**6}, workers=1, seed=1) as local:
        return fitness(local.evaluate(DRIVERS))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_lost_node_and_dead_actor_cost_no_result_and_a_new_node_is_used(cluster, drawn, tmp_path):
    nodes = [cluster.add_node(), cluster.add_node()]
    with evaluator(cluster, DYING, died=str(tmp_path / "died"), delay=0.02) as two:
        seen: list[int] = []

        def disturb(result: Any) -> None:
            seen.append(result.id)
            if len(seen) == 15:
                kill(nodes[0])
            if len(seen) == 30:
                nodes[0] = cluster.add_node()

        assert fitness(two.evaluate(DRIVERS, disturb)) == drawn
        assert len(seen) == len(set(seen)) == len(DRIVERS)
        assert two.restarts == 2  # the dead actor, and that of the lost node
        until(lambda: two.pool.receive(0.1) is not None and len(set(two.pool.nodes.values())) == 2)
        assert fitness(two.evaluate(DRIVERS)) == drawn
    for node in nodes:
        cluster.remove_node(node)


SOME = {"run__generations": 4, "evaluation__frames": 600, "NEAT__pop_size": 10}


def command(
    folder: Path, *arguments: str, program: tuple[str, ...] = ("-m", "mkds_neat.run")
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *program, *arguments, "--no-pictures", "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        start_new_session=True,
    )


def wait_for_results(folder: Path, generation: int, process: subprocess.Popen[str]) -> None:
    """Wait until a generation has some results, but not all."""

    def some() -> bool:
        assert process.poll() is None, process.communicate()
        path = folder / "journal.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return len(lines) >= 2 and json.loads(lines[1])["generation"] >= generation

    until(some, 200)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_run_with_a_killed_driver_and_a_killed_node_ends_as_a_local_run(cluster, tmp_path):
    nodes = [cluster.add_node(), cluster.add_node()]
    # Generations enough to notice the lost node on a fast machine.
    path = config(
        tmp_path, f"address = {cluster.address}\nactors = 2", **{**SOME, "run__generations": 12}
    )
    (tmp_path / "local.ini").write_text(path.read_text().replace("engine = ray", "engine = local"))
    local = command(tmp_path, "local.ini", "--output", "local")

    first = command(tmp_path, "c.ini")
    wait_for_results(tmp_path / "run", 1, first)
    assert actors_on(nodes)
    first.kill()
    first.communicate()
    until(lambda: not actors_on(nodes), 60)

    second = command(tmp_path, "--resume", "run")
    wait_for_results(tmp_path / "run", 3, second)
    kill(nodes[0])
    out, _ = second.communicate(timeout=250)
    assert second.returncode == 0, out
    assert "was lost" in (tmp_path / "run" / "run.log").read_text()
    assert local.wait(250) == 0
    assert everything(RunFolder.open(tmp_path / "run")) == everything(
        RunFolder.open(tmp_path / "local")
    )
    until(lambda: not actors_on(nodes[1:]), 60)
    for node in nodes:
        cluster.remove_node(node)


IMPATIENT = """
import sys
from mkds_neat.cluster import head
from mkds_neat.run import main
head.INTERVAL, head.PATIENCE = 1.0, 5.0
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("lost", ["head", "all machines"])
def test_lost_head_ends_the_run_in_one_error_and_resume_continues_it(lost, tmp_path):
    cluster = RemoteCluster()
    try:
        nodes = [cluster.add_node(), cluster.add_node()]
        path = config(tmp_path, f"address = {cluster.address}\nactors = 2", **SOME)
        local = path.read_text().replace("engine = ray", "engine = local")
        (tmp_path / "local.ini").write_text(local)
        whole = command(tmp_path, "local.ini", "--output", "local")
        first = command(tmp_path, "c.ini", program=("-c", IMPATIENT))
        wait_for_results(tmp_path / "run", 1, first)
        if lost == "head":
            for actor in actors_on(nodes):
                actor.suspend()  # or a fast machine would end the run before it misses the head
            cluster.kill_head()
        else:
            cluster.kill()
        out, _ = first.communicate(timeout=120)
    finally:
        cluster.kill()
    assert first.returncode == 1, out
    errors = [line for line in out.splitlines() if "error" in line.lower()]
    assert len(errors) == 1, out
    assert f"error: the head of the Ray cluster at {cluster.address} has not answered" in errors[0]
    assert "Traceback" not in out
    second = command(tmp_path, "--resume", "run", "--engine", "local")
    out, _ = second.communicate(timeout=250)
    assert second.returncode == 0, out
    assert whole.wait(250) == 0
    assert everything(RunFolder.open(tmp_path / "run")) == everything(
        RunFolder.open(tmp_path / "local")
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signal_leaves_nothing_of_a_cluster_of_the_run(tmp_path, monkeypatch, number):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    config(tmp_path, "address = local\nactors = 1", **{**SOME, "run__generations": 500})
    process = command(tmp_path, "c.ini")
    wait_for_results(tmp_path / "run", 1, process)
    family = psutil.Process(process.pid).children(recursive=True)
    assert actors(family)
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number, out
        assert "continue with" in out
        assert not list(tmp_path.glob("mkds-ray*"))
    _, alive = psutil.wait_procs(family, 90)  # Ray's agents look at times whether it lives
    assert not alive
    assert number == signal.SIGKILL or not list(shared_folder().glob(f"mkds-ray.{process.pid}"))
    remove_leftovers(tmp_path, FOLDERS)
    assert not list(tmp_path.glob("mkds-ray-*"))
