"""Breaks each mechanism once, and fails if no test notices: ``python -m tests.mutations``.

Each mutation replaces a piece of the source in a temporary copy of the package and runs the tests that guard it. A piece
that is not there any more is an error too, so that this list keeps up with the code.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
TIMEOUT = 180  # seconds for the tests of one mutation
PASSED, FAILED = 0, 1  # exit codes of pytest

MODEL = "tests/consistency/test_model.py"
PARALLEL = "tests/consistency/test_interleavings.py"
LATE = "tests/consistency/test_late.py"
EXCLUSIVE = "tests/consistency/test_exclusive.py"
FAILURES = "tests/consistency/test_failures.py"
CANCELLATION = "tests/consistency/test_cancellation.py"
UNDER_WAY = "tests/consistency/test_under_way.py"
CONTRACT = "tests/stores/test_contract.py"
FILES = "tests/stores"
BEHAVIOUR = "tests/test_behaviour.py"
REGISTRY = "tests/test_registry.py"
KEYRING = "tests/test_keyring.py"
RECORD = "tests/test_record.py"
MANAGER = "tests/test_manager.py"
REDIS = "tests/redis/test_connection.py"


@dataclass(frozen=True)
class Mutation:
    """What is broken: ``old`` becomes ``new`` in a module; ``tests`` are those that must notice."""

    name: str
    module: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    # commits
    Mutation("swap takes any version", "stores/memory.py", "kept is None or kept.version != old", "kept is None", CONTRACT),
    Mutation("create overwrites", "stores/memory.py", "            if kept is None:\n", "            if True:\n", CONTRACT),
    Mutation("drop the epoch check", "stores/base.py", "if found.record.epoch == loaded.record.epoch else None", "if True else None", PARALLEL),
    Mutation("forget the commit list", "stores/base.py", " or has_commit(found.record, version)", "", FAILURES),
    Mutation("delete whatever the epoch", "stores/base.py", "decoded.record.epoch != loaded.record.epoch:\n                    return False", "False:\n                    return False", MODEL),
    Mutation("a second logout expires a newer cookie", "stores/base.py", "return attempt > 0", "return True", PARALLEL),
    Mutation("the last writer wins", "record.py", "if record.values == change.base else _merge_values", "if True else _merge_values", PARALLEL),
    Mutation("merging forgets removed keys", "record.py", "if key in mine or key not in base", "if True", RECORD),
    Mutation("flashes are added twice", "record.py", "if flash.id not in there", "if True", RECORD),
    Mutation("clear keeps the epoch", "record.py", "if change.cleared or change.secret_hash:", "if change.secret_hash:", PARALLEL),
    Mutation("regenerate keeps the epoch", "record.py", "if change.cleared or change.secret_hash:", "if change.cleared:", PARALLEL),
    # tokens
    Mutation("accept the previous secret", "record.py", "if not compare_digest(presented, record.secret_hash):", "if presented not in (record.secret_hash, record.previous_hash):", PARALLEL),
    Mutation("accept any secret", "record.py", "if not compare_digest(presented, record.secret_hash):", "if False:", "tests/hostile/test_attacks.py"),
    Mutation("forget the previous secret at once", "record.py", "SUPERSEDED_FOR = 60", "SUPERSEDED_FOR = 0", PARALLEL),
    Mutation("keys are not bound to the cookie's name", "keyring.py", "cookie_name.encode()", "b''", KEYRING),
    Mutation("keys are not bound to the mode", "keyring.py", "mode.encode()", "b''", KEYRING),
    Mutation("tokens of the future are fine", "sealing.py", "unsealed.sealed_at > now + CLOCK_SKEW", "False", KEYRING),
    # what is remembered
    Mutation("what is known is never too new", "opener.py", "known is None or known.renewed_at > now", "known is None", "tests/test_opener.py"),
    Mutation("a header's cookie is never too new", "opener.py", "found is not None and found[1].renewed_at <= now", "found is not None", "tests/test_opener.py"),
    Mutation("what headers lead to outlives what is known", "opener.py", "            self._found.clear()  # what it holds", "            pass  # what it holds", "tests/test_opener.py"),
    Mutation("all cookies are remembered", "opener.py", "if len(self._known) >= MOST_KNOWN:", "if False:", "tests/test_opener.py"),
    Mutation("all headers are remembered", "opener.py", "if len(self._found) >= MOST_KNOWN:", "if False:", "tests/test_opener.py"),
    Mutation("long headers are remembered", "opener.py", " and len(line) <= LONGEST_KNOWN", "", "tests/test_opener.py"),
    Mutation("one of several headers is looked at", "opener.py", "        if not others:\n", "        if True:\n", "tests/test_opener.py"),
    Mutation("a known handle is a known record", "record.py", " or known[1] != data", "", RECORD),
    Mutation("a known handle is a known token", "record.py", " or known[0] is not token", "", RECORD),
    Mutation("a known handle is a known version", "record.py", "loaded.version != version or ", "", RECORD),
    Mutation("a commit to another record is known", "record.py", "known is not None and known[2] is before", "known is not None", RECORD),
    Mutation("a lifetime that was shortened meanwhile is known as it was", "stores/base.py", "change.only_values and current is loaded", "change.only_values", PARALLEL),
    Mutation("a known record never ends", "record.py", " or now >= loaded.ends_at", "", RECORD),
    Mutation("values that can change are shared", "serializers/again.py", "if type(value) not in SCALARS", "if False", RECORD),
    Mutation("all decoded values are remembered", "serializers/again.py", "elif len(self) >= MOST_KNOWN:", "elif False:", "tests/test_serializers.py"),
    Mutation("large records are remembered", "record.py", "if len(data) <= MAX_KNOWN:", "if True:", RECORD),
    Mutation("a message key is used for ever", "xaes.py", "        if self._left < 0:", "        if not self._shared[0]:", "tests/test_xaes.py"),
    Mutation("a nonce comes again", "xaes.py", "        second = urandom(HALF)", "        second = bytes(HALF)", "tests/test_xaes.py"),
    # leases
    Mutation("a lease keeps nobody out", "stores/base.py", "taken.until > now and", "False and", EXCLUSIVE),
    Mutation("a lease lasts for ever", "stores/base.py", "taken.until > now and", "", EXCLUSIVE),
    Mutation("a holder commits after its lease", "stores/base.py", "lease is None or lease.holder != holder or lease.until <= now", "False", EXCLUSIVE),
    Mutation("a lease is not given back", "exclusive.py", "plan.release = True", "pass", EXCLUSIVE),
    # when
    Mutation("commit what an error response left", "middleware.py", 'if message.get("status", 200) >= 500:', "if False:", LATE),
    Mutation("late changes are forgotten", "middleware.py", "await self._sessions.finish()\n        elif", "pass\n        elif", LATE),
    Mutation("no limit ends a commit", "writing.py", "with anyio.move_on_after(seconds - spent):", "with anyio.CancelScope():", FAILURES),
    Mutation("a renewal that changes values is not told to the index", "writing.py", " and change.only_values and plan.expires_at is None", " and change.only_values", MANAGER),
    Mutation("any write timeout will do", "config.py", " or not timeout >= 0:", ":", FAILURES),
    Mutation("no limit ends a line", "writing.py", "return _in_time(store.line_up(rival, binding.codec), seconds, spent=binding.write_timeout)", "return store.line_up(rival, binding.codec)", FAILURES),
    Mutation("every verb ends in time", "writing.py", " and 2 * binding.write_timeout <= seconds", "", FAILURES),
    Mutation("an overridden verb keeps the write timeout", "stores/base.py", "if any(verb in vars(base) for base in later for verb in _WRITING_VERBS):", "if False:", FAILURES),
    Mutation("newcomers do not line up", "stores/base.py", "            if is_locked(self, loaded.handle):\n", "            if False:\n", "tests/consistency/test_interleavings.py"),
    Mutation("nobody lines up", "stores/base.py", "        async with self.queue(commit.loaded.handle):\n            for", "        if True:\n            for", "tests/consistency/test_interleavings.py"),
    Mutation("a lock is never passed on", "_engine/queue.py", "        waiting = _waiting[self._key]\n        if waiting:\n", "        waiting = _waiting[self._key]\n        if False:\n", "tests/consistency/test_interleavings.py"),
    Mutation("nobody waits for a lock", "_engine/queue.py", "        if waiting is None:\n", "        if True:\n", "tests/stores/test_queue.py"),
    Mutation("a failed commit is answered as a success", "middleware.py", "            raise self.error\n        await self._send(self._start(message))", "            pass\n        await self._send(self._start(message))", FAILURES),
    Mutation("a cancelled commit is abandoned", "exchange.py", "                    await undisturbed(self._commit(plan))\n", "                    pass\n", CANCELLATION),
    Mutation("commit after an encoding error", "registry.py", "            if not failed:\n", "            if True:\n", REGISTRY),
    Mutation("a superseded request writes", "registry.py", "            if session._superseded:\n", "            if False:\n", PARALLEL),
    Mutation("a superseded request saves", "exchange.py", "        if session._superseded:\n", "        if False:\n", "tests/consistency/test_overtaken.py"),
    Mutation("a new session may be created late", "late.py", "nowhere = plan.doomed is None and (plan.created is not None or plan.after is None)", "nowhere = False", LATE),
    # cookies
    Mutation("a name within another name is ours", "cookies.py", "if alone and not values", "if not values", "tests/test_cookies.py"),
    Mutation("a second cookie of the name is overlooked", "cookies.py", " and header.find(name, end) < 0:", ":", "tests/test_cookies.py"),
    Mutation("a value that comes again counts twice", "cookies.py", " and value not in values:", ":", "tests/test_cookies.py"),
    Mutation("a model from a default is stored in part", "models.py", "if reread.get(field) != parts[field]", "if False", "tests/test_models.py"),
    Mutation("a model overwrites what others changed", "models.py", "if reread.get(field) != parts[field]", "if True", "tests/test_models.py"),
    Mutation("two foreign cookies: the first one wins", "importers.py", "if found and all(read == found[0] for read in found)", "if found", "tests/test_moving_in.py"),
    Mutation("Vary is forgotten", "middleware.py", "            add_headers(headers, cookies.values() if cookies else ())", "            headers += [(b\"set-cookie\", cookie) for cookie in (cookies or {}).values()]", BEHAVIOUR),
    Mutation("reading rewrites what another program encoded", "session.py", "(self._written is not False or not self._is_respelled(values))", "True", BEHAVIOUR),
    Mutation("flashes alone are no change", "session.py", "        self._edits = replace(self._edits, **changed)\n        self._exchange.touched = True\n", "        self._edits = replace(self._edits, **changed)\n", BEHAVIOUR),
    Mutation("a key that is set is no change", "session.py", "self.modified = self._written = self._exchange.touched = True", "self.modified = self._written = True", BEHAVIOUR),
    Mutation("a nested change is no change", "session.py", "        self._shared = self._exchange.touched = True\n\n", "        self._shared = True\n\n", BEHAVIOUR),
    Mutation("a commit ends what was set while it was under way", "session.py", "            if self._written is values:\n", "            if True:\n", UNDER_WAY),
    Mutation("what is set while a commit is under way is no change", "lazydict.py", "if self._written is not True or", "if not self._written or", UNDER_WAY),
    Mutation("a save does not wait for the commit before the response", "exchange.py", "            if self.committing:\n", "            if False:\n", UNDER_WAY),
    Mutation("what a save wrote is done again", "session.py", "self._edits.doomed is edits.doomed", "False", UNDER_WAY),
    Mutation("a foreign cookie is not replaced", "session.py", "self._written = self._shared = self._exchange.touched = True", "self._written = self._shared = True", "tests/test_moving_in.py"),
    Mutation("a known cookie never expires", "exchange.py", "if loaded is not None and now < loaded.ends_at:", "if loaded is not None:", "tests/test_opener.py tests/test_behaviour.py"),
    Mutation("a cookie session that was only read is never renewed", "exchange.py", "            session._fill(loaded, values)\n            if now >= loaded.due_at:\n                self.touched = True\n        except CookieRefused as exc:\n            self._refuse(session, exc, now)\n\n    async def load_record", "            session._fill(loaded, values)\n        except CookieRefused as exc:\n            self._refuse(session, exc, now)\n\n    async def load_record", BEHAVIOUR),
    Mutation("a stored session that was only read is never renewed", "exchange.py", "                session._fill(loaded, values)\n                if now >= loaded.due_at:\n                    self.touched = True\n            elif", "                session._fill(loaded, values)\n            elif", BEHAVIOUR),
    Mutation("a session with an epoch that was only read is never renewed", "exchange.py", "            session._fill(loaded, values)\n            self.touched = True\n", "            session._fill(loaded, values)\n", "tests/test_epochs.py"),
    Mutation("one of several cookies is never renewed", "exchange.py", "now))\n                self.touched = True\n", "now))\n", "tests/hostile/test_attacks.py"),
    Mutation("a cookie that waits is sent after a login elsewhere", "exchange.py", "        self.touched = True  # a cookie that is saved now", "        pass  # a cookie that is saved now", "tests/consistency"),
    Mutation("a renewal writes data", "session.py", "return values != self._base and (", "return True or (", BEHAVIOUR),
    Mutation("nested changes are trusted to flags", "lazydict.py", "        if type(value) not in _IMMUTABLE:\n            self._mark_shared()\n        return value\n\n    def get", "        return value\n\n    def get", BEHAVIOUR),
    Mutation("a stale cookie is not sealed anew", "record.py", "0.0 if stale else ", "", BEHAVIOUR),
    Mutation("the server does not enforce the lifetime", "record.py", "if now >= ends_at:", "if False:", BEHAVIOUR),
    # owners
    Mutation("a login does not look at the index again", "owners.py", "if generation in (b\"\", plan.generation):", "if True:", MANAGER),
    Mutation("a session joins its owner only after its commit", "owners.py", "    if plan.generation is None:  # kept when a commit is done again\n        plan.generation = await _enlist(index, plan, owner)", "    plan.generation = b\"\"", MANAGER),
    Mutation("a renewal does not reach the index", "owners.py", "elif owner is not None and plan.expires_at is not None:", "elif False:", MANAGER),
    Mutation("a stale entry ends another owner's session", "manager.py", "if record is None or not _same(record.owner, owner):", "if record is None:", MANAGER),
    Mutation("numbers and texts are one owner", "sealing.py", 'b"int:%d" % owner', 'b"str:%d" % owner', MANAGER),
    Mutation("an owner's epoch is not compared", "exchange.py", "loaded.record.owner_epoch != await epoch_of(binding, owner)", "await epoch_of(binding, owner) < 0", "tests/test_epochs.py"),
    Mutation("a waiting cookie is sent whatever came between", "exchange.py", "if waits else None", "if False else None", "tests/consistency/test_overtaken.py"),
    # Redis
    Mutation("a reply is kept for the next who asks", "stores/redis/connection.py", "                waiter = sent.popleft()[0]\n", "                waiter = next((sent.popleft()[0] for _ in list(sent) if not sent[0][0].done()), sent[0][0])\n", REDIS),
    Mutation("a connection that was logged out goes on", "stores/redis/connection.py", "if isinstance(error, redis_errors.ConnectionError | redis_errors.ReadOnlyError):", "if False:", "tests/redis/test_redis_faults.py"),
    Mutation("enough commands wait for the next turn", "stores/redis/connection.py", "elif len(pending) >= ENOUGH and", "elif False and", REDIS),
    Mutation("what the server pushes is taken for a reply", "stores/redis/connection.py", "if isinstance(reply, PushNotification):", "if False:", REDIS),
    # files
    Mutation("no lock on files", "stores/filesystem/directory.py", "        raise Busy from exc", "        del exc", FILES),
    Mutation("touch rewrites the data", "stores/filesystem/files.py", "            os.utime(self._file(handle), ns=(modified, modified), follow_symlinks=False)", "            self._write(self._file(handle), kept[0], expires_at)", FILES),
    Mutation("corrupt files are taken", "stores/filesystem/files.py", "!= MAGIC + _checksum(stored)", "== b''", FILES),
    Mutation("temporary files stay", "stores/filesystem/directory.py", "            os.unlink(temporary)", "            pass", FILES),
    Mutation("work that was given up begins", "stores/filesystem/workers.py", "    if future.done():  # given up", "    if False:  # given up", FILES),
    Mutation("symbolic links are followed", "stores/filesystem/directory.py", "READ = os.O_RDONLY | os.O_NOFOLLOW", "READ = os.O_RDONLY", FILES),
]  # fmt: skip


def notices(mutation: Mutation, tree: Path) -> bool:
    """Whether a test fails when this is broken."""
    source = ROOT / "asgi_sessions" / mutation.module
    text = source.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise SystemExit(f"{mutation.name}: {mutation.module} has the piece {text.count(mutation.old)} times")
    broken = tree / "asgi_sessions" / mutation.module
    broken.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        ended = run(tree, mutation.tests)
        if ended not in (PASSED, FAILED):
            raise SystemExit(f"{mutation.name}: the tests could not run")
        return ended == FAILED
    finally:
        broken.write_text(text, encoding="utf-8")


def run(tree: Path, tests: str) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()]
    try:
        return subprocess.run(command, cwd=tree, capture_output=True, timeout=TIMEOUT, check=False).returncode
    except subprocess.TimeoutExpired:
        return FAILED  # a test that hangs has noticed, too


def main() -> int:
    wanted = sys.argv[1:]
    mutations = [m for m in MUTATIONS if not wanted or any(word in m.name for word in wanted)]
    survived = []
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory)
        for name in ("asgi_sessions", "tests"):
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, tree / name)
        for tests in sorted({mutation.tests for mutation in mutations}):
            if run(tree, tests) != 0:
                raise SystemExit(f"{tests} does not pass as it is")
        for number, mutation in enumerate(mutations, start=1):
            noticed = notices(mutation, tree)
            print(f"{number:3}/{len(mutations)} {'noticed ' if noticed else 'SURVIVED'} {mutation.name}", flush=True)
            survived += [] if noticed else [mutation.name]
    print(f"{len(mutations) - len(survived)} of {len(mutations)} mutations noticed")
    return 1 if survived else 0


if __name__ == "__main__":
    raise SystemExit(main())
