"""A wheel, which is what the images install, holds everything the packages need."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("app", "workers", "migrations")


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    ours = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / "source" / package, ignore=ours)
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-qq", "--no-deps"]
    subprocess.run(
        [*pip, "--no-build-isolation", "--wheel-dir", str(tmp_path), str(tmp_path / "source")], check=True
    )
    [wheel] = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    wanted = {str(path.relative_to(ROOT)) for path in paths if "__pycache__" not in path.parts}
    assert wanted - packed == set()
