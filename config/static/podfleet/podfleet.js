// Draws the charts of the first page, and tells the server the browser's time zone.
// There is no build step and no inline script.
"use strict";

(() => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) {
    document.cookie = `podfleet_zone=${zone}; path=/; max-age=31536000; samesite=lax`;
  }

  const COLORS = [
    "#2f6fdb",
    "#d9730d",
    "#1f9d63",
    "#b83fb0",
    "#c62828",
    "#0d8ba1",
    "#7a6a00",
    "#6b5bd2",
  ];
  const charts = new Map();
  let stretch = "1h";

  const isDark = () => document.documentElement.classList.contains("dark");
  const ink = () => (isDark() ? "#98a2b3" : "#667080");
  const line = () => (isDark() ? "#333b47" : "#e2e5ea");

  const clock = (at) => {
    const day = { month: "short", day: "numeric" };
    const time = { hour: "2-digit", minute: "2-digit", hour12: false };
    return new Date(at).toLocaleString(undefined, stretch === "7d" ? day : time);
  };

  const options = (found, most) => ({
    animation: false,
    maintainAspectRatio: false,
    parsing: false,
    normalized: true,
    interaction: { mode: "nearest", axis: "x", intersect: false },
    plugins: {
      legend: {
        display: found.fleets.length > 1,
        labels: {
          color: ink(),
          boxWidth: 12,
          filter: (item, data) => !data.datasets[item.datasetIndex].borderDash.length,
        },
      },
      tooltip: {
        callbacks: {
          title: (at) => (at.length ? new Date(at[0].parsed.x).toLocaleString() : ""),
        },
      },
    },
    scales: {
      x: {
        type: "linear",
        min: found.from,
        max: found.to,
        ticks: { color: ink(), maxTicksLimit: 6, maxRotation: 0, callback: clock },
        grid: { color: line() },
      },
      y: {
        beginAtZero: true,
        suggestedMax: most,
        ticks: { color: ink(), maxTicksLimit: 5 },
        grid: { color: line() },
      },
    },
  });

  const dataset = (found, fleet, number, column, dashed) => {
    const at = found.columns.indexOf(column);
    return {
      label: dashed ? `${fleet.name}, ${column}` : fleet.name,
      data: fleet.points.map((point) => ({ x: point[0], y: point[at] })),
      borderColor: COLORS[number % COLORS.length],
      backgroundColor: COLORS[number % COLORS.length],
      borderWidth: dashed ? 1.5 : 2,
      borderDash: dashed ? [4, 4] : [],
      pointRadius: 0,
      stepped: column === "pods" || column === "ready",
    };
  };

  const draw = (canvas, found) => {
    const { column, also, most } = canvas.dataset;
    const datasets = found.fleets.flatMap((fleet, number) => [
      dataset(found, fleet, number, column, false),
      ...(also ? [dataset(found, fleet, number, also, true)] : []),
    ]);
    // What some fleets never know has no empty chart.
    const known = datasets.some((set) => set.data.some((point) => point.y !== null));
    canvas.closest("figure").hidden = "ifKnown" in canvas.dataset && !known;
    charts.get(canvas)?.destroy();
    charts.set(
      canvas,
      new Chart(canvas, { type: "line", data: { datasets }, options: options(found, most && Number(most)) }),
    );
  };

  const tellLeftOut = (note, found) => {
    const shown = found.fleets.length;
    note.hidden = !found.left_out;
    note.textContent = found.left_out
      ? `The charts show ${shown} of ${shown + found.left_out} fleets: those that spent the most today.`
      : "";
  };

  const renew = async (section) => {
    if (document.hidden) {
      return;
    }
    const asked = stretch;
    const answer = await fetch(`${section.dataset.url}?stretch=${asked}`, {
      headers: { Accept: "application/json" },
    });
    if (!answer.ok || answer.redirected) {
      // A redirect leads to the login page.
      throw new Error(answer.redirected ? "the login has expired" : `status ${answer.status}`);
    }
    if (asked !== stretch) {
      return; // the user chose another time range meanwhile; its answer will follow
    }
    const found = await answer.json();
    section.querySelectorAll("canvas").forEach((canvas) => draw(canvas, found));
    tellLeftOut(section.querySelector(".pf-left-out"), found);
  };

  document.addEventListener("DOMContentLoaded", () => {
    const section = document.querySelector(".pf-charts");
    if (!section) {
      return;
    }
    // After an error the charts stay as they are. The next try follows within seconds.
    const again = () =>
      renew(section).catch((error) => console.warn("The charts were not refreshed:", error.message));
    const buttons = section.querySelectorAll("[data-stretch]");
    buttons.forEach((button) => {
      button.addEventListener("click", () => {
        stretch = button.dataset.stretch;
        buttons.forEach((other) => {
          other.setAttribute("aria-pressed", String(other === button));
        });
        again();
      });
    });
    new MutationObserver(again).observe(document.documentElement, { attributeFilter: ["class"] });
    document.addEventListener("visibilitychange", again);
    setInterval(again, 15000);
    again();
  });
})();
