"""Put the last results into README.md, so that it never shows others than the results directory."""

from pathlib import Path

from benchmarks import results

README = Path(__file__).parent / "README.md"


def main() -> None:
    """Replace what stands between the markers of each benchmark."""
    text = README.read_text()
    for path in sorted(results.DIRECTORY.glob("*.md")):
        start, end = f"<!-- {path.stem} -->", f"<!-- /{path.stem} -->"
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = f"{before}{start}\n\n{path.read_text()}\n{end}{after}" if after else text
    README.write_text(text)


if __name__ == "__main__":
    main()
