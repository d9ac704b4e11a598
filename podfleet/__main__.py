"""Finds the application that lies beside this file, and runs its command line.

The application's packages have common names (`config`, `fleet`, `pods`), so the wheel keeps them in the
folder `_app`, which only this command puts on the path.
"""

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Run the command line. A package of the current folder never stands in for one of ours."""
    app = application()
    sys.path[:] = [str(app), *(folder for folder in sys.path if folder not in ("", str(app)))]
    prepare(os.environ, app)
    from config.cli import main as start  # noqa: PLC0415 - it can be found only now

    start(["podfleet", *sys.argv[1:]])


def application() -> Path:
    """The folder with `config`, `fleet` and `pods`: inside the wheel `_app`, else the checkout."""
    return HERE / "_app" if (HERE / "_app").is_dir() else HERE.parent


def prepare(environ: MutableMapping[str, str], app: Path) -> None:
    """Set what this process and those that it starts read from the environment.

    The settings of another Django project, which a developer's shell may have, are not ours.
    """
    others = [path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(app), *others]))
    environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    environ["PODFLEET_STARTED_AS"] = "podfleet"
    environ["PODFLEET_VAR_DIR"] = str(data_folder(environ))


def data_folder(environ: MutableMapping[str, str]) -> Path:
    """The folder of everything that is written at run time.

    PODFLEET_VAR_DIR, else PODFLEET_HOME, else `podfleet` in the XDG state folder. It is absolute,
    because the processes of the stack have another current folder.
    """
    if given := environ.get("PODFLEET_VAR_DIR") or environ.get("PODFLEET_HOME"):
        return Path(given).expanduser().absolute()
    state = Path(environ.get("XDG_STATE_HOME") or "")
    if not state.is_absolute():  # the XDG specification ignores a relative path
        state = Path.home() / ".local" / "state"
    return state / "podfleet"


if __name__ == "__main__":
    # `python -m podfleet` has put the current folder first on the path.
    if not sys.flags.safe_path:
        del sys.path[0]
    main()
