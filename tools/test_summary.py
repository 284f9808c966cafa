#!/usr/bin/env python3
"""Reads ctest's JUnit files and prints what was skipped and why, what failed, and one closing line.

  tools/test_summary.py FILE.xml...

Exit code 1 if a test failed or if none ran.
"""
import re
import sys
import xml.etree.ElementTree as ElementTree


def output_of(case):
    return (case.findtext("system-out") or "").strip()


def reason_of_skip(case):
    """GoogleTest prints "file:line: Skipped" and the reason after it; another program says it in its last line."""
    output = output_of(case)
    match = re.search(r": Skipped\n(.*?)(\n\s*\n|\n\[|$)", output, re.DOTALL)
    if match:
        return " ".join(match[1].split()) or "no reason given"
    return output.splitlines()[-1] if output else "no reason given"


def main(paths):
    passed, failed, skipped = [], [], []
    for path in paths:
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            # ctest marks a test whose program is missing as "skipped" too; that is a failure.
            unable = case.find("skipped") is not None and "SKIP_" not in (case.find("skipped").get("message") or "")
            if case.find("failure") is not None or unable:
                failed.append(case)
            elif case.find("skipped") is not None:
                skipped.append(case)
            else:
                passed.append(case)

    by_reason = {}
    for case in skipped:
        by_reason.setdefault(reason_of_skip(case), []).append(case.get("name"))
    for reason, names in by_reason.items():
        print(f"\nSKIPPED {len(names)}: {reason}")
        print("\n".join(f"  {name}" for name in names))

    for case in failed:
        message = next((e.get("message") for e in case if e.tag in ("failure", "skipped") and e.get("message")), "")
        print(f"\nFAILED {case.get('name')} {message}".rstrip())
        lines = output_of(case).splitlines() or [f"no output; ended after {float(case.get('time') or 0):.1f} s"]
        print("\n".join(f"  {line}" for line in lines[-40:]))

    if not passed and not failed:
        print("\nno test ran: " + ("every test was skipped" if skipped else "the build holds no such tests"))
    print(f"\n{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
