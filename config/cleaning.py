"""Whether the folder `var` may be deleted: not while a pod may bill."""

from pathlib import Path
from typing import Any, Final

from django.db import DatabaseError, connection

from pods.base.command_name import how_to_run
from pods.models import Pod
from pods.plural import plural

MOST_NAMED: Final = 20
FORCED: Final = "`make clean FORCE=1` deletes it all the same"


def why_kept(folder: Path) -> str:
    """Why `folder` must not be deleted now, and what to do; "": it may be deleted.

    A database without tables has no pods. One that cannot be read may have some.
    """
    try:
        pods = _that_may_bill()
    except DatabaseError as exc:
        said = " ".join(str(exc).split()) or type(exc).__name__
        return f"the database cannot be read, and pods may bill ({said}); mend it, or: {FORCED}"
    if pods:
        return _text(pods)
    if (other := folder / "podfleet.sqlite3").exists() and not _is_used(other):
        return (
            f"{other} is not the database of these settings, so nobody looked whether its pods may "
            f"bill; run this without DATABASE_URL and PODFLEET_VAR_DIR, or: {FORCED}"
        )
    return ""


def _that_may_bill() -> list[dict[str, Any]]:
    if _is_missing(connection):
        return []
    if Pod._meta.db_table not in connection.introspection.table_names():
        return []
    # Only these columns: an older version's table has them too.
    columns = ("name", "state", "provider", "account__name", "external_id", "fleet__name")
    return list(Pod.objects.billable().order_by("pk").values(*columns))


def _is_missing(db: Any) -> bool:
    """Whether it is a file of SQLite that does not exist: to connect would make it."""
    return (
        db.vendor == "sqlite"
        and not db.is_in_memory_db()
        and not Path(db.settings_dict["NAME"]).exists()
    )


def _is_used(file: Path) -> bool:
    """Whether these settings use this database."""
    name = str(connection.settings_dict["NAME"])
    return connection.vendor == "sqlite" and Path(name).resolve() == file.resolve()


def _text(pods: list[dict[str, Any]]) -> str:
    lines = [f"{plural(len(pods), 'pod')} may still bill, and this is the only record:"]
    lines += [f"  {_where(pod)}" for pod in pods[:MOST_NAMED]]
    if len(pods) > MOST_NAMED:
        lines.append(f"  and {len(pods) - MOST_NAMED:,} more")
    fleets = sorted({pod["fleet__name"] for pod in pods})
    stops = " and ".join(
        f"`{how_to_run(f'fleet stop-all {name}')}`" for name in fleets[:MOST_NAMED]
    )
    lines.append(
        f"run `{how_to_run('up')}`, then {stops}, and wait until `{how_to_run('fleet list')}` shows "
        f"no pod. If you end them at the provider yourself: {FORCED}"
    )
    return "\n".join(lines)


def _where(pod: dict[str, Any]) -> str:
    machine = f"machine {pod['external_id']}" if pod["external_id"] else "machine not known yet"
    return (
        f"{pod['name']} ({pod['state']}), {machine} at {pod['provider']}, account "
        f"{pod['account__name']}, fleet {pod['fleet__name']}"
    )
