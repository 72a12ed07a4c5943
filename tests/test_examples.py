"""Every example runs as it stands, as far as one machine lets it."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from distributed import LocalCluster

import smlm_dask as smlm

EXAMPLES = Path(__file__).parent.parent / "examples"
FOR_EVER = 300  # seconds; what takes longer hangs


def run(name: str, *arguments: str, cwd: Path, **environment: str) -> str:
    """What an example prints, in a process of its own; its workers find this package."""
    paths = [str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]
    everything = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(
        command,
        check=False,
        cwd=cwd,
        env=everything,
        capture_output=True,
        text=True,
        timeout=FOR_EVER,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [file.name for file in EXAMPLES.glob("*.py") if f'"{file.name}"' not in text] == []


def check_gain(printed: str) -> None:
    """The camera of every simulated movie here has a gain of 0.45."""
    (gain,) = re.findall(r"gain\D* (0\.\d+)", printed)
    assert abs(float(gain) - 0.45) < 0.02


@pytest.mark.parametrize("name", ["laptop.py", "cluster.py"])
def test_it_finds_the_gain(name: str, tmp_path: Path) -> None:
    check_gain(run(name, cwd=tmp_path, TMPDIR=str(tmp_path)))


# ------------------------------------------------------------------ SLURM


SBATCH = """#!/bin/sh
# SLURM's command as far as dask-jobqueue uses it: starts the job here, prints its number.
cp "$1" "$JOBS/$$.job"
setsid sh "$JOBS/$$.job" > "$JOBS/$$.log" 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
kill -- "-$1"
"""


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a login node: jobs run on this machine."""
    pytest.importorskip("dask_jobqueue")
    pytest.importorskip("cryptography")
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "JOBS": str(tmp_path)}


def test_slurm(slurm: dict[str, str], tmp_path: Path) -> None:
    printed = run("slurm.py", cwd=tmp_path, **slurm)
    assert re.search(r"ssh -L (\d+):localhost:\1 ", printed)
    check_gain(printed)
    script, *others = (file.read_text() for file in tmp_path.glob("*.job"))
    assert len(others) == 1
    for line in ("-p regular", "-n 1", "--cpus-per-task=4", "--mem=15G", "-t 04:00:00"):
        assert f"#SBATCH {line}\n" in script
    words = script.split()
    for option, value in (
        ("--nthreads", "2"),
        ("--nworkers", "2"),
        ("--memory-limit", "7.45GiB"),
        ("--lifetime", "225m"),
        ("--lifetime-stagger", "10m"),
        ("--protocol", "tls://"),
        ("--dashboard-address", "127.0.0.1:0"),
    ):
        assert words[words.index(option) + 1] == value
    assert "--nanny" in words
    assert "PRIVATE KEY" not in script
    log = "".join(file.read_text() for file in tmp_path.glob("*.log"))
    assert set(re.findall(r"Listening to: +(\w+):", log)) == {"tls"}


# ------------------------------------------------------------------ SSH


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """The home of somebody who has a key for this machine, on which a server waits for it."""
    pytest.importorskip("asyncssh")
    command = [sys.executable, str(Path(__file__).with_name("sshd.py")), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield tmp_path
        finally:
            server.terminate()


def test_ssh(home: Path) -> None:
    printed = run("ssh.py", str(home), "127.0.0.1", "127.0.0.1", cwd=home, HOME=str(home))
    check_gain(printed)
    (key,) = home.glob("*/key.pem")
    assert key.stat().st_mode & 0o077 == 0


# ------------------------------------------------------------------ GPU


def test_gpu_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    example = runpy.run_path(str(EXAMPLES / "gpu.py"))
    with pytest.raises(smlm.SmlmError, match=r"gpu: got no dask-cuda.*wanted.*Fix: pip install"):
        example["main"]()


def test_gpu_settings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """dask-cuda hands what it does not know on to ``LocalCluster``: here that is asked at once."""

    stand = ModuleType("dask_cuda")
    stand.LocalCUDACluster = partial(LocalCluster, n_workers=1, processes=False)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dask_cuda", stand)
    runpy.run_path(str(EXAMPLES / "gpu.py"))["main"]()
    check_gain(capsys.readouterr().out)
