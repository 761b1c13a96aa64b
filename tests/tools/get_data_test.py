"""Tests tools/get_data with small archives in its table and a server on this machine."""

import contextlib
import gzip
import hashlib
import http.server
import importlib.machinery
import importlib.util
import io
import os
import random
import stat
import sys
import tarfile
import tempfile
import threading
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "get_data"


def load_tool():
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("get_data", str(TOOL))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("get_data", loader))
    loader.exec_module(module)
    return module


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves server.files, cuts each answer after server.cut bytes, and notes the requested ranges."""

    def do_GET(self):
        server = self.server
        name = self.path.rpartition("/")[2]
        wanted = self.headers.get("Range")
        server.ranges.append((name, wanted))
        if name not in server.files:
            self.send_error(404)
            return
        body = server.files[name]
        start = 0
        if wanted and server.resumable:
            start = int(wanted[len("bytes="):-1])
            if start >= len(body):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = len(body) if server.cut is None else min(len(body), start + server.cut)
        self.wfile.write(body[start:end])
        self.close_connection = True

    def log_message(self, *_):
        pass


def tar_gz(members):
    """Writes an archive. Each member is (TarInfo or path, bytes)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for info, content in members:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class GetData(unittest.TestCase):
    def setUp(self):
        self.tool = load_tool()
        self.tool.WAIT_SECONDS = 0
        self.tool.ATTEMPTS = 2
        folder = tempfile.TemporaryDirectory(prefix="sculpt_get_data_")
        self.addCleanup(folder.cleanup)
        self.base = Path(folder.name)
        self.to = self.base / "target"
        generator = random.Random(1)
        self.files = {"a.bin": generator.randbytes(3000), "b.bin": generator.randbytes(2000)}
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.files, self.server.ranges = {}, []
        self.server.cut, self.server.resumable = None, True
        threading.Thread(
            target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/x"
        self.use_archive(tar_gz([("batches/" + n, b) for n, b in self.files.items()]))

    def use_archive(self, archive):
        """Makes cifar10 the data set of a.bin and b.bin in this archive, on the server."""
        self.archive = archive
        self.server.files["set.tar.gz"] = archive
        self.tool.DATA_SETS["cifar10"] = self.tool.DataSet("batches", [self.url], [
            self.tool.Parcel("set.tar.gz", hashlib.sha256(archive).hexdigest(),
                             {n: len(b) for n, b in self.files.items()})])

    def use_gzips(self):
        self.server.files = {n + ".gz": gzip.compress(b) for n, b in self.files.items()}
        self.tool.DATA_SETS["mnist"] = self.tool.DataSet("", [self.url], [
            self.tool.Parcel(n, hashlib.sha256(b).hexdigest(), {n[:-3]: len(self.files[n[:-3]])})
            for n, b in self.server.files.items()])

    def run_tool(self, *arguments, name="cifar10"):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = self.tool.main([name, "--to", str(self.to), *map(str, arguments)])
        return code, out.getvalue() + err.getvalue()

    def assert_complete(self, result, folder=None):
        self.assertEqual(result[0], 0, result[1])
        folder = folder or self.to
        self.assertEqual({p.name for p in folder.iterdir()}, set(self.files))
        for name, content in self.files.items():
            self.assertEqual((folder / name).read_bytes(), content)

    def assert_failed(self, result, *texts, nothing_left=True):
        self.assertEqual(result[0], 1, result[1])
        for text in texts:
            self.assertIn(text, result[1])
        if nothing_left:
            self.assertFalse(self.to.exists() and any(p for p in self.to.rglob("*") if p.is_file()))

    def test_is_executable_and_explains_itself(self):
        self.assertTrue(TOOL.stat().st_mode & stat.S_IXUSR)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            with self.assertRaises(SystemExit) as exited:
                self.tool.main(["--help"])
        self.assertEqual(exited.exception.code, 0)
        self.assertIn("cifar100", out.getvalue())

    def test_table_is_well_formed(self):
        table = load_tool().DATA_SETS
        self.assertEqual(set(table), {"cifar10", "cifar100", "mnist", "fashion_mnist"})
        for data_set in table.values():
            for parcel in data_set.parcels:
                self.assertRegex(parcel.sha256, "^[0-9a-f]{64}$")
        self.assertEqual(sum(table["cifar10"].parcels[0].contents.values()), 60000 * 3073)

    def test_download_and_a_second_time(self):
        self.assert_complete(self.run_tool())
        asked = len(self.server.ranges)
        code, text = self.run_tool()
        self.assertEqual(code, 0)
        self.assertIn("complete", text)
        self.assertEqual(len(self.server.ranges), asked)

    def test_download_of_several_files(self):
        self.use_gzips()
        self.assert_complete(self.run_tool(name="mnist"))
        (self.to / "a.bin").unlink()
        self.server.ranges.clear()
        self.assert_complete(self.run_tool(name="mnist"))
        self.assertEqual([n for n, _ in self.server.ranges], ["a.bin.gz"])

    def test_cut_connections_are_continued(self):
        self.server.cut = len(self.archive) // 7
        self.assert_complete(self.run_tool())
        starts = [int(r[6:-1]) for _, r in self.server.ranges if r]
        self.assertGreaterEqual(len(starts), 6)
        self.assertEqual(starts, sorted(set(starts)))

    def test_an_interrupted_download_is_continued_by_the_next_run(self):
        (self.to / ".download").mkdir(parents=True)
        (self.to / ".download" / "set.tar.gz.part").write_bytes(self.archive[:1000])
        self.assert_complete(self.run_tool())
        self.assertEqual(self.server.ranges, [("set.tar.gz", "bytes=1000-")])

    def test_a_part_that_is_complete_is_not_fetched_again(self):
        (self.to / ".download").mkdir(parents=True)
        (self.to / ".download" / "set.tar.gz.part").write_bytes(self.archive)
        self.assert_complete(self.run_tool())

    def test_a_server_that_cannot_continue_starts_again(self):
        self.server.resumable = False
        (self.to / ".download").mkdir(parents=True)
        (self.to / ".download" / "set.tar.gz.part").write_bytes(b"x" * 1000)
        self.assert_complete(self.run_tool())

    def test_wrong_checksum(self):
        self.server.files["set.tar.gz"] = self.archive[:-1] + b"x"
        self.assert_failed(self.run_tool(), "set.tar.gz", "wrong SHA-256", "expected", "got",
                           hashlib.sha256(self.archive).hexdigest(),
                           "try again, or get the file in another way and give it with --from FILE")
        got = self.base / "another.way"
        got.write_bytes(self.archive)
        self.assert_complete(self.run_tool("--from", got))
        self.to = self.base / "again"
        self.server.files["set.tar.gz"] = self.archive
        self.assert_complete(self.run_tool())

    def test_dead_server_and_missing_file(self):
        self.assert_failed(self.run_tool("--from", "http://127.0.0.1:1/x"),
                           "could not be downloaded", "--from set.tar.gz")
        del self.server.files["set.tar.gz"]
        self.assert_failed(self.run_tool(), "404")
        self.assertFalse(self.to.exists() and (self.to / "a.bin").exists())

    def test_a_stalled_download_keeps_its_part(self):
        self.server.cut = 0
        (self.to / ".download").mkdir(parents=True)
        part = self.to / ".download" / "set.tar.gz.part"
        part.write_bytes(self.archive[:1000])
        result = self.run_tool()
        self.assert_failed(result, "is kept", nothing_left=False)
        self.assertEqual(part.read_bytes(), self.archive[:1000])
        self.assertFalse((self.to / "a.bin").exists())

    def test_second_server(self):
        old = self.tool.DATA_SETS["cifar10"]
        self.tool.DATA_SETS["cifar10"] = old._replace(servers=["http://127.0.0.1:1", self.url])
        self.assert_complete(self.run_tool())

    def test_from_url_of_archive_and_of_folder(self):
        old = self.tool.DATA_SETS["cifar10"]
        self.tool.DATA_SETS["cifar10"] = old._replace(servers=["http://127.0.0.1:1"])
        self.assert_complete(self.run_tool("--from", self.url + "/set.tar.gz"))
        self.to = self.base / "second"
        self.assert_complete(self.run_tool("--from", self.url + "/"))

    def test_from_local_archive_under_any_name(self):
        archive = self.base / "downloaded(1)"
        archive.write_bytes(self.archive)
        self.assert_complete(self.run_tool("--from", archive))
        self.assertEqual(archive.read_bytes(), self.archive)
        self.assertEqual(self.server.ranges, [])

    def test_from_truncated_local_archive(self):
        archive = self.base / "set.tar.gz"
        archive.write_bytes(self.archive[:-20])
        self.assert_failed(self.run_tool("--from", archive), str(archive), "wrong SHA-256",
                           "if you trust it, unpack it yourself and give the folder")
        self.assertTrue(archive.exists())
        archive.write_bytes(tar_gz([*((n, b) for n, b in self.files.items()), ("more", b"1")]))
        self.assert_failed(self.run_tool("--from", archive), "unpack it yourself")
        (self.base / "unpacked").mkdir()
        with tarfile.open(archive) as tar:
            tar.extractall(self.base / "unpacked")
        self.assert_complete(self.run_tool("--from", self.base / "unpacked"))

    def test_from_folders(self):
        for sub in ("", "batches"):
            source = self.base / f"source{sub}"
            (source / sub).mkdir(parents=True)
            for name, content in self.files.items():
                (source / sub / name).write_bytes(content)
            self.to = self.base / f"target{sub}"
            self.assert_complete(self.run_tool("--from", source))
            # The archive was unpacked by hand. The data set is complete there, also in the subfolder.
            self.to = source
            self.assertEqual(self.run_tool()[0], 0)
        self.assertEqual(self.server.ranges, [])
        source = self.base / "with_archive"
        source.mkdir()
        (source / "set.tar.gz").write_bytes(self.archive)
        self.to = self.base / "third"
        self.assert_complete(self.run_tool("--from", source))

    def test_from_folder_with_a_wrong_size_or_nothing(self):
        source = self.base / "source"
        source.mkdir()
        self.assert_failed(self.run_tool("--from", source), str(source), "set.tar.gz")
        for extra in (-1, 1):
            (source / "a.bin").write_bytes(bytes(3000))
            (source / "b.bin").write_bytes(bytes(2000 + extra))
            self.assert_failed(self.run_tool("--from", source), "b.bin", "2000 are expected")
        self.assert_failed(self.run_tool("--from", self.base / "nowhere"), "nowhere",
                           "no such file")

    def test_one_of_several_files_is_not_enough(self):
        self.use_gzips()
        for name, content in self.server.files.items():
            (self.base / name).write_bytes(content)
        code, text = self.run_tool("--from", self.base / "a.bin.gz", name="mnist")
        self.assertEqual(code, 1)
        self.assertIn("still missing b.bin", text)
        self.assert_complete(self.run_tool("--from", self.base / "b.bin.gz", name="mnist"))
        (self.base / "other").write_bytes(b"x")
        self.to = self.base / "second"
        self.assert_failed(self.run_tool("--from", self.base / "other", name="mnist"), "a.bin.gz")

    def test_hostile_archive_writes_only_what_is_expected(self):
        link = tarfile.TarInfo("b.bin")
        link.type, link.linkname = tarfile.SYMTYPE, str(self.base / "outside")
        self.use_archive(tar_gz([("../../a.bin", self.files["a.bin"]), (link, b""),
                                 ("/etc/evil", b"x"), ("batches/b.bin", self.files["b.bin"]),
                                 ("batches/a.bin", b"second")]))
        self.assert_complete(self.run_tool())
        self.assertFalse((self.base / "outside").exists())
        self.assertEqual({p.name for p in self.base.iterdir()}, {"target"})

    def test_archive_with_wrong_contents(self):
        self.use_archive(tar_gz([("a.bin", self.files["a.bin"])]))
        self.assert_failed(self.run_tool(), "holds no b.bin", nothing_left=False)
        self.use_archive(tar_gz([("a.bin", b"short"), ("b.bin", self.files["b.bin"])]))
        self.to = self.base / "second"
        self.assert_failed(self.run_tool(), "a.bin", "5 bytes, but 3000", nothing_left=False)
        self.use_archive(b"no archive at all")
        self.to = self.base / "third"
        self.assert_failed(self.run_tool(), "cannot be unpacked", nothing_left=False)
        for folder in (self.base / "second", self.base / "third"):
            self.assertEqual([p.name for p in folder.iterdir()], [".download"])

    def test_target_that_is_a_file_or_not_writable(self):
        self.to.write_bytes(b"x")
        self.assertIn("is a file", self.run_tool()[1])
        if os.geteuid() != 0:
            self.to = self.base / "closed"
            self.to.mkdir(mode=0o500)
            self.assert_failed(self.run_tool(), "closed")

    def test_full_disk(self):
        if not Path("/dev/full").exists():
            self.skipTest("needs /dev/full")
        (self.to / ".download").mkdir(parents=True)
        (self.to / ".download" / "set.tar.gz.part").symlink_to("/dev/full")
        self.assert_failed(self.run_tool(), "No space left", nothing_left=False)


if __name__ == "__main__":
    unittest.main()
