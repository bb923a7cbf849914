"""What the charts have in common."""

# Of middle brightness, so that it can be read on light and on dark pages.
INK = "#747d88"


def text(x, y, words, anchor="middle", size=12, extra=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{extra}>'
            f"{words}</text>")
