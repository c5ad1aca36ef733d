"""A Hub on 127.0.0.1 that takes uploads, for the real client: repositories in memory, a list of commits each.

It also fails on request: an error at the next commits, and downloads that break off.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from huggingface_hub import constants

from pkgen_hf.publishing.card_rules import check_card

TOKEN = "hf_" + "t" * 34
NOWHERE = "http://127.0.0.1:9"  # no server there
READER = "hf_" + "r" * 34  # may read, not write


def blob_id(content: bytes) -> str:
    """As git computes it, by which the client knows what it need not send."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Repository:
    """Files of each commit; commits are numbered, and called by a hash of the number."""

    def __init__(self, private: bool) -> None:
        self.private, self.refs = private, {"main": 0}
        self.commits: list[dict[str, bytes]] = [{".gitattributes": b"*.safetensors filter=lfs\n"}]

    def find(self, revision: str) -> int | None:
        names = {name_of(number): number for number in range(len(self.commits))} | self.refs
        return names.get(revision)

    def add(self, files: dict[str, bytes], branch: str = "main") -> str:
        """A commit of these files; its hash."""
        self.commits.append(files)
        self.refs[branch] = len(self.commits) - 1
        return name_of(self.refs[branch])


def name_of(number: int) -> str:
    return hashlib.sha1(str(number).encode()).hexdigest()


def connect(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let the client of this process take an address for the Hub's."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


class HubStub(ThreadingHTTPServer):
    """The server.

    `repositories` are by (type, id); so many commits fail as `fail_commits`, so many files break off as `cut`; `sent`
    lists the files that were sent, whole or not.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.fail_commits, self.cut = 0, 0
        self.sent: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


def entries(files: dict[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders below a folder, as the Hub lists them."""
    below = {name: content for name, content in files.items() if not folder or name.startswith(f"{folder}/")}
    depth = len(folder.split("/")) if folder else 0
    found: dict[str, dict[str, Any]] = {}
    for name, content in below.items():
        parts = name.split("/")
        for end in range(depth + 1, len(parts)):
            path = "/".join(parts[:end])
            if recursive or end == depth + 1:
                found[path] = {"type": "directory", "path": path, "size": 0, "oid": blob_id(path.encode())}
        if recursive or len(parts) == depth + 1:
            found[name] = {"type": "file", "path": name, "size": len(content), "oid": blob_id(content)}
    return list(found.values())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubStub

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def answer(self, status: int, content: Any = None, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content or {}).encode()
        first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if first else status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if self.command != "HEAD":
            breaks = "ETag" in headers and self.server.cut > 0
            self.server.cut -= breaks
            self.wfile.write(body[first : (first + len(body)) // 2] if breaks else body[first:])
            self.close_connection = self.close_connection or breaks

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, {"error": code}, X_Error_Code=code, X_Error_Message=code)

    def handle_any(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b"".join(iter(self.chunk, b""))
        user = {f"Bearer {TOKEN}": "writer", f"Bearer {READER}": "reader"}.get(self.headers.get("Authorization", ""))
        if "Authorization" in self.headers and user is None:
            return self.answer(401, {"error": "Invalid credentials"})
        if path == "/api/whoami-v2":
            return self.answer(200, {"name": "org", "type": "user", "orgs": []})
        if path == "/api/validate-yaml":
            given = json.loads(body)
            try:
                check_card(given["content"], given["repoType"])
            except ValueError as error:
                return self.answer(400, {"errors": [{"message": str(error)}], "warnings": []})
            return self.answer(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            given = json.loads(body)
            key = (given.get("type", "model"), f"{given['organization']}/{given['name']}")
            if user != "writer":
                return self.answer(403, {"error": "You don't have the rights"})
            there = key in self.server.repositories
            hidden = bool(given.get("private")) or given.get("visibility") == "private"
            repository = self.server.repositories.setdefault(key, Repository(hidden))
            assert there or key[0] != "space" or given["sdk"] == "gradio"
            return self.answer(409 if there else 200, {"url": f"{self.server.url}/{key[1]}", "id": key[1]})
        found = re.fullmatch(
            r"/(?:api/(model|dataset|space)s|(dataset|space)s|)/?([\w.-]+/[\w.-]+)(?:/(\w+)/(.+))?", path
        )
        repository = self.server.repositories.get((found[1] or found[2] or "model", found[3])) if found else None
        if found is None or repository is None or (repository.private and user is None):
            return self.refuse(404 if user else 401, "RepoNotFound")
        what, rest = found[4] or "revision", found[5] or "main"
        if what == "branch":
            there = rest in repository.refs
            repository.refs.setdefault(rest, repository.refs["main"])
            return self.answer(409 if there else 200)
        revision, _, name = rest.partition("/")
        commit = repository.find(revision)
        if commit is None:
            return self.refuse(404, "RevisionNotFound")
        files = repository.commits[commit]
        if what == "revision":
            siblings = [{"rfilename": name} for name in files]
            return self.answer(200, {"id": found[3], "sha": name_of(commit), "siblings": siblings, "tags": []})
        if what == "tree":
            return self.answer(200, entries(files, name, "recursive=true" in self.path.lower()))
        if what == "paths-info":
            given = parse_qs(body.decode()) if b"=" in body[:6] else json.loads(body)
            return self.answer(200, [e for e in entries(files, "", True) if e["path"] in given["paths"]])
        if what == "resolve":
            if name not in files:
                return self.refuse(404, "EntryNotFound")
            if self.command == "GET":
                self.server.sent.append(name)
            return self.answer(200, files[name], ETag=f'"{blob_id(files[name])}"', X_Repo_Commit=name_of(commit))
        if user != "writer":
            return self.answer(403, {"error": "You don't have the rights"})
        if what == "preupload":
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            for mode in modes:
                mode["oid"] = blob_id(files[mode["path"]]) if mode["path"] in files else None
            return self.answer(200, {"files": modes})
        assert what == "commit", path
        if self.server.fail_commits:
            self.server.fail_commits -= 1
            return self.answer(507, {"error": "out of order"})
        new = dict(files)
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                new[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del new[line["value"]["path"]]
        oid = repository.add(new, revision)
        return self.answer(200, {"commitUrl": f"{self.server.url}/{found[3]}/commit/{oid}", "commitOid": oid})

    def chunk(self) -> bytes:
        content = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return content

    do_GET = do_HEAD = do_POST = handle_any
