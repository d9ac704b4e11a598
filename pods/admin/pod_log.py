"""The log of a pod: what its machine printed, with search and download."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path

from pods.accounts import machine_logs
from pods.accounts.connecting import CannotConnect
from pods.admin import pod_words
from pods.base.clock import utcnow
from pods.masking import without_passwords
from pods.models import Pod
from pods.providers.errors import ProviderError

LINES: Final = 300
MOST_LINES: Final = 5000  # of a download


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What is known of a pod's output."""

    text: str
    kept: bool = (
        False  # the machine is gone or silent, and these lines were kept when the pod failed
    )
    problem: str = ""  # why the machine's present output is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line with its number; `parts`: its text, each second part is what was looked for."""

    number: int
    parts: Sequence[str]


def read(pod: Pod, *, tail: int) -> Log:
    """The output of the pod's machine; if it is not there any more, what was kept of it."""
    try:
        return Log(text=machine_logs.logs_of(pod, tail=tail))
    except (ProviderError, CannotConnect, LookupError) as exc:
        problem = without_passwords(f"{type(exc).__name__}: {exc}")
        return Log(text=pod.last_output, kept=bool(pod.last_output), problem=problem)


def lines(text: str, wanted: str) -> Sequence[Line]:
    """The lines that contain `wanted`, in capitals or not; "": all lines."""
    numbered = enumerate(text.splitlines(), start=1)
    if not wanted:
        return [Line(number=number, parts=[line]) for number, line in numbered]
    found = [(number, _parts(line, wanted)) for number, line in numbered]
    return [Line(number=number, parts=parts) for number, parts in found if len(parts) > 1]


def _parts(line: str, wanted: str) -> Sequence[str]:
    """The line, cut before and after each place where it contains `wanted`."""
    lower, small, parts, at = line.lower(), wanted.lower(), [], 0
    if len(lower) != len(line):  # a few letters become longer
        lower, small = line, wanted
    while (next_at := lower.find(small, at)) >= 0:
        end = next_at + len(small)
        parts += [line[at:next_at], line[next_at:end]]
        at = end
    return [*parts, line[at:]]


class PodLogPage:
    """Adds the log to the admin of pods, at an address of its own."""

    admin_site: admin.AdminSite
    opts: Any

    def get_urls(self) -> list[Any]:
        """The addresses, with that of the log."""
        logs = self.admin_site.admin_view(self.logs)
        urls: list[Any] = super().get_urls()  # type: ignore[misc]
        return [path("<int:pod_id>/logs/", logs, name="pods_pod_logs"), *urls]

    def logs(self, request: HttpRequest, pod_id: int) -> HttpResponse:
        """The log; `q`: only lines that contain it, `download`: as a file, `part`: only the lines."""
        pod = Pod.objects.select_related("fleet", "account").filter(pk=pod_id).first()
        if pod is None or not request.user.has_perm("pods.view_pod"):
            raise Http404(f"no pod has the id {pod_id}")
        if "download" in request.GET:
            return _file(pod)
        log, wanted = read(pod, tail=LINES), request.GET.get("q", "")[:100]
        context = {
            "pod": pod, "log": log, "wanted": wanted, "lines": lines(log.text, wanted),
            "most": LINES, "over": pod.ended_at is not None,
        }  # fmt: skip
        if "part" in request.GET:
            return TemplateResponse(request, "admin/pods/pod/log_lines.html", context)
        context |= {
            **self.admin_site.each_context(request),
            "title": f"{pod.fleet.name} · {pod_words.name_of(pod)} · Log",
            "opts": self.opts,
            "headline": pod_words.headline(pod, utcnow()),
            "words": pod_words.state_of(pod, utcnow()),
            "tab": "log",
        }
        return TemplateResponse(request, "admin/pods/pod/logs.html", context)


def _file(pod: Pod) -> HttpResponse:
    log = read(pod, tail=MOST_LINES)
    said = log.text if log.text or not log.problem else f"{log.problem}\n"
    name = f"{pod.fleet.name}-{pod_words.name_of(pod)}.log"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(said, content_type="text/plain; charset=utf-8", headers=headers)
