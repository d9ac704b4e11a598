"""A course of a fleet as JSON values."""

from typing import Any, Final

from fleet.decision.what_if import Course, Moment

MOST_POINTS: Final = 200  # of a course


def course_as_json(course: Course) -> dict[str, Any]:
    """A course with some of its points: money as text."""
    step = -(-len(course.moments) // MOST_POINTS)
    return {
        "most_pods": course.most_pods,
        "pod_hours": round(course.pod_hours, 3),
        "cost_usd": str(course.spent_usd),
        "done_at": course.done_at.isoformat() if course.done_at else None,
        "left": course.left,
        "points": [_point(moment) for moment in course.moments[::step]],
    }


def _point(moment: Moment) -> dict[str, Any]:
    return {
        "at": moment.at.isoformat(),
        "depth": moment.depth,
        "pods": moment.pods,
        "ready": moment.ready,
        "hourly_usd": str(moment.hourly_usd),
        "spent_usd": str(moment.spent_usd),
        "binding": moment.binding,
    }
