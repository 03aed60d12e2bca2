"""Plots as SVG, written by hand: one bar for each row, from 0 to the floor, with the goal as a mark on it."""

from xml.sax.saxutils import escape

LEFT, BAR, RIGHT, ROW, TOP = 170, 480, 150, 26, 46
REACHED, MISSED, NO_GOAL = "#2b8a3e", "#d9480f", "#868e96"


def ratios(title, rows, results):
    """The ratios of server and floor of all rows that have one, as the text of an SVG file. `None`: none has."""
    bars = []
    for row in rows:
        figures = results.get(row.name, {})
        if "ratio" in figures:
            goal = next((goal.bound for goal in row.goals if goal.figure == "ratio"), None)
            bars.append((row.name, figures["ratio"], goal, rate_text(row, figures)))
    if not bars:
        return None
    # The longest bar ends at the right edge, the floor is at 1.
    scale = BAR / max(1.1, max(ratio for _, ratio, _, _ in bars))
    height = TOP + ROW * len(bars) + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + BAR + RIGHT}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{LEFT + BAR + RIGHT}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="20" font-size="15">{escape(title)}</text>',
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = LEFT + tick * scale
        stroke = "#495057" if tick in (0, 1) else "#ced4da"
        label = "floor" if tick == 1 else f"{tick:g}"
        lines += [f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height - 26}" stroke="{stroke}"/>',
                  f'<text x="{x:.1f}" y="{height - 10}" text-anchor="middle" fill="#495057">{label}</text>']
    for index, (name, ratio, goal, rate) in enumerate(bars):
        y = TOP + ROW * index
        color = NO_GOAL if goal is None else REACHED if ratio >= goal else MISSED
        lines += [f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>',
                  f'<rect x="{LEFT}" y="{y}" width="{ratio * scale:.1f}" height="18" fill="{color}"/>',
                  f'<text x="{LEFT + 6}" y="{y + 13}" fill="#ffffff">{ratio:.2f}</text>',
                  f'<text x="{LEFT + BAR + 8}" y="{y + 13}" fill="#495057">{escape(rate)}</text>']
        if goal is not None:
            x = LEFT + goal * scale
            lines.append(f'<line x1="{x:.1f}" y1="{y - 3}" x2="{x:.1f}" y2="{y + 21}" stroke="#000000" '
                         'stroke-width="2"/>')
    return "\n".join([*lines, "</svg>", ""])


def rate_text(row, figures):
    unit = {"gib_per_second": "GiB/s", "keys_per_second": "keys/s"}.get(row.rate, "/s")
    digits = 2 if unit == "GiB/s" else 0
    return f"{figures['rate']:,.{digits}f} {unit}"
