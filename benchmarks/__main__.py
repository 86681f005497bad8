"""Run every benchmark, draw the charts and put the results into README.md.

python -m benchmarks [--quick]
"""

import sys

from benchmarks import charts, embedded, long_recordings, readme, throughput

if "--help" in sys.argv or "-h" in sys.argv:
    sys.exit(__doc__)
for benchmark in (throughput, long_recordings, embedded, charts, readme):
    benchmark.main()
