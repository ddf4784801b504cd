"""Sessions measured side by side: this package and its peers, in interleaved rounds.

Parts: ``times`` (added over the bare application), ``counts`` (per request: Redis commands, round trips, file system
calls, thread hops, bytes), ``load`` (requests/s under uvicorn), ``owners`` (logins, lists, revocations), ``scale``
(many stored sessions). Without a part: all but the last, in ten minutes or more.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import cells, counts, endtoend, machine, owners, plot, report, scale, times
from .bench import Unfaithful, Workbench, workbench
from .contenders import Contender, chosen

PARTS = ("times", "counts", "load", "owners", "scale")
LOAD_ROUNDS = 5
BUSY = 0.5  # load average, from which on figures suffer


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("parts", nargs="*", metavar="PART", help="times, counts, load, owners, scale")
    made.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default: %(default)s)")
    made.add_argument(
        "--only", nargs="+", default=[], metavar="WORD", help="contenders whose name has one of the words"
    )
    made.add_argument("--scenarios", nargs="+", default=[], metavar="NAME", help="only these: read, write, ...")
    made.add_argument("--quick", action="store_true", help="few cells, short samples: to see whether it works")
    made.add_argument("--full", action="store_true", help="the whole matrix: an hour or more")
    made.add_argument(
        "--seconds",
        type=float,
        default=0.1,
        help="of one cell in one round, and of its warming up (default: %(default)s)",
    )
    made.add_argument("--sessions", type=int, default=100_000, help="scale: stored at most (default: %(default)s)")
    made.add_argument("--json", type=Path, metavar="FILE", help="keep the result")
    made.add_argument("--plot", type=Path, metavar="FILE", help="draw the result, as SVG; also one that --table names")
    made.add_argument("--table", type=Path, metavar="FILE", help="measure nothing: print a kept result as Markdown")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser().error(f"{', '.join(sorted(unknown))}: the parts are {', '.join(PARTS)}")
    if options.table:
        result = json.loads(options.table.read_text(encoding="utf-8"))
        print(report.markdown(result))
    else:
        result = measured(options)
        print(report.terminal(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        options.plot.write_text(plot.svg(result), encoding="utf-8")


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """What the options ask for."""
    contenders = chosen(options.only)
    parts = options.parts or (["times"] if options.quick else ["times", "counts", "load", "owners"])
    about = machine.about()
    if about["load"] is not None and about["load"] > BUSY:
        print(f"the machine is busy (load average {about['load']}): trust ratios, not digits", file=sys.stderr)
    with workbench() as bench:
        try:
            found = {part: _measure(part, bench, contenders, options) for part in parts}
        except Unfaithful as exc:
            sys.exit(f"not fit to be measured: {exc}")
        except KeyboardInterrupt:
            sys.exit("interrupted")
        about = {
            **about,
            "rounds": options.rounds,
            "versions": {**machine.versions(), **bench.versions_apart()},
        }
        return {"machine": about, "missing": bench.missing, **found}


def _measure(part: str, bench: Workbench, contenders: Sequence[Contender], options: argparse.Namespace) -> Any:
    if part == "times":
        select = cells.full if options.full else cells.quick if options.quick else cells.default
        wanted = [cell for cell in select(contenders) if not options.scenarios or cell.scenario in options.scenarios]
        return times.measure(bench, wanted, options.rounds, 0.02 if options.quick else options.seconds)
    if part == "load":
        return endtoend.measure(bench, contenders, min(options.rounds, LOAD_ROUNDS))
    if part == "counts":
        return counts.measure(bench, contenders)
    if part == "owners":
        return owners.measure(bench, contenders, options.rounds)
    return scale.measure(bench, contenders, options.rounds, options.sessions)


if __name__ == "__main__":
    main()
