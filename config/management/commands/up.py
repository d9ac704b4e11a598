"""`manage.py up`: run the whole stack on this machine, in the foreground."""

from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import CommandError

from config import preparing, stack
from config.env import env
from pods.base.clock import utcnow
from pods.base.command_name import how_to_run
from pods.base.commands import OwnCommand
from pods.base.ports import port

LOOK_SECONDS: Final = 2.0  # how often it looks whether the embedded Redis runs
WEB_SECONDS: Final = 90.0  # for the first answer of the pages


class Command(OwnCommand):
    """Starts web, workers, beat and Flower, restarts what fails, and stops on Ctrl-C."""

    help = "Run the whole stack: web with the admin, workers, beat and Flower."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where to listen. The environment has the defaults."""
        parser.add_argument(
            "--port", type=port, default=env().web_port, help="Port of the web pages."
        )
        parser.add_argument("--flower-port", type=port, default=env().flower_port)

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare, start, wait, stop.

        Raises:
            CommandError: the stack runs already, or it ended by itself.
        """
        try:
            with stack.alone(settings.VAR_DIR) as record:
                self._run(options, record)
        except (stack.AlreadyRunning, stack.NoPort) as exc:
            raise CommandError(str(exc)) from exc

    def _run(self, options: dict[str, Any], record: Callable[[str], None]) -> None:
        bind = env().bind
        stack.until_asked_to_stop()
        web_port, flower_port = options["port"], options["flower_port"]
        running = stack.Stack(settings.VAR_DIR, [], cwd=settings.BASE_DIR)
        try:
            stack.stop_leftovers(settings.VAR_DIR)
            preparing.ensure_services()
            if warning := preparing.warning_of_redis():
                self.stderr.write(f"warning: REDIS_URL: {warning}")
            preparing.migrate()
            web_port = stack.free_port(web_port, bind)
            flower_port = stack.free_port(flower_port, bind)
            user, password_file = preparing.ensure_admin()
            running.programs = [
                *stack.workers(concurrency=env().worker_concurrency),
                stack.web(
                    port=web_port, bind=bind,
                    flower_url=f"http://{bind}:{flower_port}", metrics_token=preparing.metrics_token(),
                ),
                stack.flower(port=flower_port, bind=bind, password=preparing.flower_password()),
                stack.beat(),
            ]  # fmt: skip
            running.start()
            web = f"http://{bind}:{web_port}"
            record(f"{web}/admin/")
            self._wait_for(web, running)
            self._greet(web, f"http://{bind}:{flower_port}", user, password_file)
            while running.alive():
                stack.wait_while(running.alive, seconds=LOOK_SECONDS, step=0.5)
                if told := preparing.restart_services():
                    self.stdout.write(f"{utcnow():%F %T} UTC: {told}")
                    self.stdout.flush()
            raise CommandError(f"the stack ended; see {running.log_dir}/supervisord.log")
        except stack.Interrupted:
            self.stdout.write("stopping …")
        finally:
            running.stop()
            preparing.stop_services()
        self.stdout.write("stopped")

    def _wait_for(self, web: str, running: stack.Stack) -> None:
        """Tell nobody an address that does not answer yet."""
        self.stdout.write("starting …")
        self.stdout.flush()
        if not stack.wait_while(
            lambda: running.alive() and not _answers(web), seconds=WEB_SECONDS, step=0.25
        ):
            self.stderr.write(f"warning: the pages do not answer; see {running.log_dir}/web.log")

    def _greet(self, web: str, flower: str, user: str, password_file: Any) -> None:
        login = "sign in as an administrator that you have made"
        if password_file.exists():
            login = f"user {user}, password: {password_file.read_text().strip()}"
        self.stdout.write(
            f"admin   {web}/admin/   {login}\n"
            f"Flower  {flower}   user admin, password: {preparing.flower_password()}\n"
            f"logs    {_place(settings.VAR_DIR / 'log')}/   (passwords are kept in "
            f"{_place(password_file.parent)}/)\n"
            "Ctrl-C stops everything but the pods: "
            f"`{how_to_run('fleet stop-everything')}` ends them."
        )
        self.stdout.flush()


def _place(folder: Path) -> str:
    """A folder as it is found from here: relative only below the current folder."""
    whole, here = folder.absolute(), Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)


def _answers(web: str) -> bool:
    """Whether the pages answer, whatever they say."""
    try:
        with closing(HTTPConnection(web.removeprefix("http://"), timeout=2)) as asked:
            asked.request("GET", "/healthz")
            asked.getresponse()
    except (OSError, HTTPException):
        return False
    return True
