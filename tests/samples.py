"""What is said in the sample recordings."""

import tomllib
from pathlib import Path

SAMPLES = Path(__file__).parent.parent / "samples"
SAID: dict[str, str] = {
    name: " ".join(entry["said"].split())
    for name, entry in tomllib.loads((SAMPLES / "transcripts.toml").read_text()).items()
}
