"""Tests of what is logic here: python3 -m unittest perf/comparison/tests.py"""

import argparse
import datetime
import json
import pathlib
import re
import sys
import tempfile
import unittest
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from comparison import bench, plot, report, rows, sdk, tools  # noqa: E402


def row(name):
    return next(row for row in rows.ROWS if row.name == name)


class Rows(unittest.TestCase):
    def test_the_better_floor_counts(self):
        floors = {"slow": [{"rate": 10}, {"rate": 30}, {"rate": 11}], "fast": [{"rate": 20}] * 3}
        found = rows.summarized([{"rate": 9, "p50 us": 2, "p99 us": 8}, {"rate": 12}, {"rate": 10}], floors)
        self.assertEqual((found["floor"], found["ratio"], found["spread"]), ("fast", 0.5, 0.3))
        self.assertEqual(found["p99/p50"], 4)

    def test_what_is_faster_than_its_floor_and_what_has_none(self):
        self.assertEqual(rows.summarized([{"rate": 3}], {"floor": [{"rate": 2}]})["ratio"], 1.5)
        self.assertNotIn("ratio", rows.summarized([{"rate": 3}], {}))
        self.assertNotIn("ratio", rows.summarized([{"rate": 3}], {"floor": [{"rate": 0}]}))

    def test_goals(self):
        results = {"get-4k": {"ratio": 0.6, "cpu us": 8.01, "p99/p50": 5}, "put-4k": {"rate": 29, "ratio": 0.59},
                   "put-4k-each": {"rate": 10}, "list-1m": {"p50 us": 119}, "list-10k": {"p50 us": 100},
                   "idle-10k": {"idle MiB": 10}, "put-64m-16": {"peak MiB": 74}}
        found = {(name, goal.split()[0]): reached for name, goal, _, reached in rows.verdicts(rows.ROWS, results)}
        expected = {("get-4k", "ratio"): True, ("get-4k", "cpu"): False, ("get-4k", "p99/p50"): True,
                    ("put-4k", "ratio"): False, ("put-4k", "p99/p50"): None, ("sharing flushes", "rate"): False,
                    ("a page of 1 M keys and of 10 k", "p50"): True, ("memory of a running PUT", "MiB"): True}
        self.assertEqual({key: found[key] for key in expected}, expected)
        results["list-1m"]["p50 us"], results["put-64m-16"]["peak MiB"] = 121, 75
        found = {name: reached for name, _, _, reached in rows.verdicts(rows.ROWS, results)}
        self.assertFalse(found["a page of 1 M keys and of 10 k"])
        self.assertFalse(found["memory of a running PUT"])
        self.assertNotIn("Complete of 50 GiB and of 50 MiB", found)

    def test_rates_of_keys(self):
        listed = rows.normalized(row("list-10k"), {"per_second": 7, "listed": 20_000, "list_seconds": 0.5})
        self.assertEqual(listed["rate"], 40_000)
        self.assertEqual(rows.normalized(row("list-10k"), {"per_second": 7})["rate"], 7)
        self.assertEqual(rows.normalized(row("delete-many"), {"p50_us": 5000, "per_second": 1})["rate"], 200_000)
        mixed = {"operations": {"get": {"p50_us": 1, "p99_us": 2}, "put": {"p50_us": 10, "p99_us": 30}},
                 "p50_us": 1, "p99_us": 30, "per_second": 1}
        self.assertEqual(rows.normalized(row("mixed-64k"), mixed)["p99/p50"], 3)
        self.assertEqual(rows.summarized([rows.normalized(row("mixed-64k"), mixed)], {})["p99/p50"], 3)
        done = {"complete_p50_us": 2000, "complete_p99_us": 3000, "p50_us": 0}
        self.assertEqual(rows.normalized(row("complete-50m"), done)["p50 us"], 2000)

    def test_a_busy_load_is_noticed(self):
        self.assertTrue(rows.limited_by_load({"load": 0.99, "busy": 0.7}))
        self.assertFalse(rows.limited_by_load({"load": 0.99, "busy": 0.99}))
        self.assertFalse(rows.limited_by_load({"load": 0.8, "busy": 0.7}))
        self.assertFalse(rows.limited_by_load({}))
        self.assertTrue(rows.limited_by_load({"floor load": 1, "floor busy": 0.5}, "floor "))

    def test_rows_are_consistent(self):
        names = [row.name for row in rows.ROWS]
        self.assertEqual(len(names), len(set(names)))
        for relation in rows.RELATIONS:
            self.assertLessEqual({relation.row, relation.other}, set(names))
        for each in rows.ROWS:
            self.assertTrue(each.floors or all(goal.figure != "ratio" for goal in each.goals), each.name)


class Floors(unittest.TestCase):
    def test_the_load_of_a_floor_asks_for_what_the_floor_has(self):
        check = lambda name, kind: bench.floor_load(row(name).load, kind)  # noqa: E731
        self.assertEqual(check("get-4k-100k", "reply"), "get --size 4096 --connections 64 --objects 1 --prepared")
        self.assertEqual(check("range-64k", "reply"), "get --size 65536 --connections 16 --objects 1 --prepared")
        self.assertEqual(check("get-64m-4-cold", "send"), row("get-64m-4-cold").load + " --prepared")
        self.assertEqual(check("put-64m-1", "receive"), row("put-64m-1").load)


    def test_what_a_setting_costs_is_measured_on_one_root(self):
        """Both sides are this server, one with the row's settings and one with the floor's."""
        ran = []
        with tempfile.TemporaryDirectory() as directory:
            measured = bench.Bench(directory, argparse.Namespace(server="server", tools="tools", endpoint=None))
            measured.run_server = ran.append
            measured.run_floor(row("get-4k-sandbox"), "server --sandbox off")
            measured.run_floor(row("get-4k-enforce"), "server")
        self.assertEqual([each.settings for each in ran], ["--sandbox off", ""])
        self.assertEqual([each.name for each in ran], ["get-4k-sandbox", "get-4k-enforce"])


class Reports(unittest.TestCase):
    results = {"get-4k": {"rate": 120_000.0, "floor rate": 200_000.0, "ratio": 0.6, "floor": "reply", "load": 0.99,
                          "busy": 0.5},
               "put-4k": {"rate": 5000.0, "ratio": 0.2}, "mixed-64k": {"rate": 1.0}}

    def test_the_text_has_rows_goals_and_warnings(self):
        text = report.text_of({"kernel": "6"}, rows.ROWS, self.results, {}, {"warp put": ["Average: 1"]})
        self.assertIn("THE LOAD WAS THE LIMIT", text)
        self.assertRegex(text, r"get-4k +ratio >= 0.6 +0.60 +reached")
        self.assertRegex(text, r"put-4k +ratio >= 0.6 +0.20 +missed")
        self.assertIn("    Average: 1", text)

    def test_the_plot_is_xml_with_a_bar_for_each_ratio(self):
        tree = xml.etree.ElementTree.fromstring(plot.ratios("a < b", rows.ROWS, self.results))
        fills = [each.get("fill") for each in tree if each.tag.endswith("rect")][1:]
        self.assertEqual(fills, [plot.REACHED, plot.MISSED])
        self.assertIsNone(plot.ratios("nothing", rows.ROWS, {"get-4k": {"rate": 1}}))

    def test_the_record_can_be_read_again(self):
        with tempfile.TemporaryDirectory() as directory:
            directory = pathlib.Path(directory)
            report.record("x", "text", {"kernel": "6"}, self.results, {"get-4k": {"server": []}}, directory)
            self.assertEqual(json.loads((directory / "x.json").read_text())["rows"], self.results)
            self.assertEqual((directory / "x.txt").read_text(), "text")


class Tools(unittest.TestCase):
    def test_rates_are_picked_out(self):
        output = "Preparing...\r  50%\rReport: PUT\n * Average: 1.5 MiB/s, 390.00 obj/s\n * Average: 1.5 MiB/s, 390.00 obj/s\n"
        self.assertEqual(tools.spoken(output), ["* Average: 1.5 MiB/s, 390.00 obj/s"])

    def test_secrets_of_others_are_no_arguments(self):
        for command in tools.WARP.values():
            self.assertNotIn("{secret_key}", command)


class Signatures(unittest.TestCase):
    """Against the examples in the API reference of S3."""

    keys = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    when = datetime.datetime(2013, 5, 24)
    host = "examplebucket.s3.amazonaws.com"

    def sign(self, path, query, headers, payload, method="GET"):
        return sdk.sign(method, path, query, headers, payload, self.keys, self.when)

    def test_headers(self):
        empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        headers = {"host": self.host, "x-amz-content-sha256": empty, "x-amz-date": "20130524T000000Z"}
        self.assertEqual(self.sign("/test.txt", {}, {**headers, "range": "bytes=0-9"}, empty),
                         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
        self.assertEqual(self.sign("/", {"prefix": "J", "max-keys": "2"}, headers, empty),
                         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")

    def test_presigned(self):
        query = {"X-Amz-Algorithm": sdk.ALGORITHM, "X-Amz-Credential": f"{self.keys[0]}/{sdk.scope(self.when)}",
                 "X-Amz-Date": "20130524T000000Z", "X-Amz-Expires": "86400", "X-Amz-SignedHeaders": "host"}
        self.assertEqual(self.sign("/test.txt", query, {"host": self.host}, "UNSIGNED-PAYLOAD"),
                         "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")

    def test_chunks(self):
        headers = {"content-encoding": "aws-chunked", "content-length": "66824", "host": "s3.amazonaws.com",
                   "x-amz-content-sha256": sdk.SIGNED_CHUNKS, "x-amz-date": "20130524T000000Z",
                   "x-amz-decoded-content-length": "66560", "x-amz-storage-class": "REDUCED_REDUNDANCY"}
        seed = self.sign("/examplebucket/chunkObject.txt", {}, headers, sdk.SIGNED_CHUNKS, "PUT")
        self.assertEqual(seed, "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9")
        body = sdk.signed_chunks(b"a" * 66560, seed, self.keys, self.when)
        self.assertEqual(len(body), 66824)
        self.assertEqual(re.findall(rb"([0-9a-f]{1,5});chunk-signature=([0-9a-f]{64})\r\n", body), [
            (b"10000", b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            (b"400", b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            (b"0", b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9")])

    def test_trailer(self):
        self.assertEqual(sdk.with_trailer(b"123456789")["body"],
                         b"9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n")


if __name__ == "__main__":
    unittest.main()
