"""Prints how many tests of a JUnit report passed and failed. An error in a fixture is a failure too."""

import sys
import xml.etree.ElementTree

suites = xml.etree.ElementTree.parse(sys.argv[1]).getroot().iter("testsuite")
counts = [{name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")} for suite in suites]
total = {name: sum(count[name] for count in counts) for name in counts[0]}
failed = total["failures"] + total["errors"]
print(total["tests"] - failed - total["skipped"], failed)
