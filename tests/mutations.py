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
REPOSITORY = "tests/test_repository.py"
BACKENDS = "tests/test_backends.py"
OUTCOMES = "tests/consistency/test_outcomes.py"
ASSIGNMENT = "tests/integration/test_assignment.py"
NEWER = "tests/stores/test_newer_format.py"
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
    Mutation("drop the epoch check", "_engine/repository.py", "if found.record.epoch == loaded.record.epoch else None", "if True else None", PARALLEL),
    Mutation("forget the commit list", "_engine/repository.py", " or has_commit(found.record, version)", "", FAILURES),
    Mutation("delete whatever the epoch", "_engine/repository.py", "found is not None and found.record.epoch != loaded.record.epoch:\n                    return False", "False:\n                    return False", MODEL),
    Mutation("a second logout expires a newer cookie", "_engine/repository.py", "return attempt > 0", "return True", PARALLEL),
    Mutation("the last writer wins", "_engine/record.py", "if record.values == change.base else _merge_values", "if True else _merge_values", PARALLEL),
    Mutation("merging forgets removed keys", "_engine/record.py", "if key in mine or key not in base", "if True", RECORD),
    Mutation("flashes are added twice", "_engine/record.py", "if flash.id not in there", "if True", RECORD),
    Mutation("clear keeps the epoch", "_engine/record.py", "if edits.cleared or change.secret_hash:", "if change.secret_hash:", PARALLEL),
    Mutation("regenerate keeps the epoch", "_engine/record.py", "if edits.cleared or change.secret_hash:", "if edits.cleared:", PARALLEL),
    # tokens
    Mutation("accept the previous secret", "_engine/record.py", "if not compare_digest(presented, record.secret_hash):", "if presented not in (record.secret_hash, record.previous_hash):", PARALLEL),
    Mutation("accept any secret", "_engine/record.py", "if not compare_digest(presented, record.secret_hash):", "if False:", "tests/hostile/test_attacks.py"),
    Mutation("forget the previous secret at once", "_engine/record.py", "SUPERSEDED_FOR = 60", "SUPERSEDED_FOR = 0", PARALLEL),
    Mutation("keys are not bound to the cookie's name", "crypto/keys.py", "cookie_name.encode()", "b''", KEYRING),
    Mutation("keys are not bound to the mode", "crypto/keys.py", "mode.encode()", "b''", KEYRING),
    Mutation("tokens of the future are fine", "crypto/seal.py", "sealed_at > now + CLOCK_SKEW", "False", KEYRING),
    Mutation("a token of any format opens", "crypto/seal.py", "if payload and payload[0] != FORMAT:", "if False:", KEYRING),
    # what is remembered
    Mutation("what is known is never too new", "_engine/backends.py", "loaded is None or loaded.renewed_at > now", "loaded is None", BACKENDS),
    Mutation("a header's cookie is never too new", "_engine/backends.py", "opened is None or opened.renewed_at > now", "opened is None", BACKENDS),
    Mutation("a cache has no limit", "_engine/cache.py", "if len(self) >= self.limit and key not in self:", "if False:", "tests/test_cache.py"),
    Mutation("long headers are remembered", "_engine/backends.py", " and len(line) <= LONGEST_KNOWN", "", BACKENDS),
    Mutation("one of several headers is looked at", "_engine/backends.py", "                alone = line is None\n", "                alone = True\n", BACKENDS),
    Mutation("a known handle is a known record", "_engine/repository.py", " or known[1] != stored.data", "", REPOSITORY),
    Mutation("a known handle is a known token", "_engine/repository.py", "known is None or known[0] is not token or stored is None", "known is None or stored is None", REPOSITORY),
    Mutation("a known handle is a known version", "_engine/repository.py", "loaded.version != stored.version or ", "", REPOSITORY),
    Mutation("a commit to another record is known", "_engine/repository.py", "known is not None and known[2] is loaded", "known is not None", REPOSITORY),
    Mutation("a lifetime that was shortened meanwhile is known as it was", "_engine/repository.py", "change.edits is NOTHING and current is loaded", "change.edits is NOTHING", REPOSITORY),
    Mutation("a known record never ends", "_engine/repository.py", " or now >= loaded.ends_at", "", REPOSITORY),
    Mutation("values that can change are shared", "serializers/msgpack.py", "if type(value) not in SCALARS", "if False", REPOSITORY),
    Mutation("all decoded values are remembered", "serializers/msgpack.py", "Cache(MOST_KNOWN)", "Cache(2**30)", "tests/test_serializers.py"),
    Mutation("large records are remembered", "_engine/repository.py", "if len(data) <= MAX_KNOWN:", "if True:", REPOSITORY),
    Mutation("a message key is used for ever", "crypto/xaes.py", "repeat(shared, MESSAGES_PER_KEY - 1)", "repeat(shared)", "tests/test_xaes.py"),
    Mutation("a nonce comes again", "crypto/xaes.py", "second = urandom(HALF)", "second = bytes(HALF)", "tests/test_xaes.py"),
    Mutation("the key itself encrypts", "crypto/xaes.py", "= iter(())", "= iter([(b'', AESGCM(key))])", "tests/test_xaes.py"),
    # leases
    Mutation("a lease keeps nobody out", "_engine/repository.py", "taken.until > now and", "False and", EXCLUSIVE),
    Mutation("a lease lasts for ever", "_engine/repository.py", "taken.until > now and", "", EXCLUSIVE),
    Mutation("a holder commits after its lease", "_engine/repository.py", "lease is None or lease.holder != holder or lease.until <= now", "False", EXCLUSIVE),
    Mutation("a lease is not given back", "_engine/exclusive.py", "plan.step = replace(plan.step, release=True)", "pass", EXCLUSIVE),
    Mutation("the lease of a section that changed nothing is not given back", "_engine/exclusive.py", "plan = self._release_only(known)", "pass", EXCLUSIVE),
    # when
    Mutation("commit what an error response left", "middleware.py", "(message.get(\"status\", 200) >= 500 or message[\"type\"] == \"websocket.close\")", "message[\"type\"] == \"websocket.close\"", LATE),
    Mutation("commit later what an error response left", "middleware.py", 'if message.get("status", 200) >= 500:', "if False:", LATE),
    Mutation("late changes are forgotten", "middleware.py", "                await responder.finish()\n        except BaseException", "                pass\n        except BaseException", LATE),
    Mutation("no limit ends a commit", "_engine/exchange.py", "with anyio.move_on_after(seconds):", "with anyio.CancelScope():", FAILURES),
    Mutation("a renewal that changes values is not told to the index", "_engine/owners.py", " and step.expires_at is None and step.change.edits is NOTHING", " and step.change.edits is NOTHING", MANAGER),
    Mutation("any write timeout will do", "config.py", " or not timeout >= 0:", ":", FAILURES),
    Mutation("no limit ends a conflict", "_engine/exchange.py", "with anyio.move_on_after(seconds - backend.write_timeout):", "with anyio.CancelScope():", FAILURES),
    Mutation("every verb ends in time", "_engine/exchange.py", " and 2 * backend.write_timeout <= seconds", "", FAILURES),
    Mutation("an overridden verb keeps the write timeout", "stores/base.py", "if any(verb in vars(base) for base in later for verb in _WRITING_VERBS):", "if False:", FAILURES),
    Mutation("newcomers do not queue", "_engine/repository.py", "if waiters and is_locked(self._store, loaded.handle):\n", "if False:\n", PARALLEL),
    Mutation("nobody queues", "_engine/repository.py", "        async with KeyedLock(self._store, handle):\n            for", "        if True:\n            for", PARALLEL),
    Mutation("a lock is never passed on", "_engine/queue.py", "        waiting = waiters[self._key]\n        if waiting:\n", "        waiting = waiters[self._key]\n        if False:\n", "tests/stores/test_queue.py"),
    Mutation("nobody waits for a lock", "_engine/queue.py", "        if waiting is None:\n", "        if True:\n", "tests/stores/test_queue.py"),
    Mutation("a failed commit is answered as a success", "middleware.py", "self.error = outcome(failures) if failures else None\n            if self.error is not None:\n", "self.error = outcome(failures) if failures else None\n            if False:\n", FAILURES),
    Mutation("a cancelled commit is abandoned", "_engine/exchange.py", "                await _undisturbed(commit(plan))\n", "                pass\n", CANCELLATION),
    Mutation("commit after an encoding error", "_engine/exchange.py", "return failures or await commit_all(plans)", "return failures + await commit_all(plans)", REGISTRY),
    Mutation("a superseded request writes", "_engine/plan.py", "    if state.superseded:\n        _give_up(state)\n        return None\n", "", PARALLEL),
    Mutation("a new session may be created late", "_engine/plan.py", "nowhere = plan.doomed is None and (isinstance(plan.step, Create) or plan.after is None)", "nowhere = False", LATE),
    Mutation("an epoch is fetched after the last look at the lock", "middleware.py", "            while (joining := [*filter(joins, self._opened.values())]) or _is_saving(exchange):\n                for session in joining:\n                    await fetch_epoch(session)\n                if _is_saving(exchange):", "            for joining in [[*filter(joins, self._opened.values())]]:\n                for session in joining:\n                    await fetch_epoch(session)\n                if False:", UNDER_WAY),
    Mutation("what a superseded session loses is told at the end", "_engine/plan.py", "            logger.warning(\"%s\", exc)  # now", "            pass  # now", UNDER_WAY),
    Mutation("a cookie that moves back leaves the former one", "_engine/plan.py", "if \"cookie\" not in plan.edits.attributes and not record.cookie", "if not record.cookie", BEHAVIOUR),
    Mutation("a request forgets a session that it opened", "registry.py", "        session = self._opened.get(name)\n        if session is None or store", "        session = None\n        if session is None or store", REGISTRY),
    Mutation("an assignment loads beside others", "middleware.py", "        await self._sessions.get()  # loaded", "        await session.backend.load(session)  # loaded", ASSIGNMENT),
    # cookies
    Mutation("a name within another name is ours", "cookies.py", "if alone and not values", "if not values", "tests/test_cookies.py"),
    Mutation("a second cookie of the name is overlooked", "cookies.py", " and header.find(name, end) < 0:", ":", "tests/test_cookies.py"),
    Mutation("a value that comes again counts twice", "cookies.py", " and value not in values:", ":", "tests/test_cookies.py"),
    Mutation("a model from a default is stored in part", "models.py", "if reread.get(field) != parts[field]", "if False", "tests/test_models.py"),
    Mutation("a model overwrites what others changed", "models.py", "if reread.get(field) != parts[field]", "if True", "tests/test_models.py"),
    Mutation("two foreign cookies: the first one wins", "importers.py", "if found and all(read == found[0] for read in found)", "if found", "tests/test_moving_in.py"),
    Mutation("Vary is forgotten", "middleware.py", "        add_headers(headers, exchange.set_cookies.values() if exchange.set_cookies else ())", '        headers += [(b"set-cookie", cookie) for cookie in (exchange.set_cookies or {}).values()]', BEHAVIOUR),
    Mutation("reading rewrites what another program encoded", "_engine/plan.py", "(state.written is not False or not _is_respelled(state, encoded))", "True", BEHAVIOUR),
    Mutation("flashes alone are no change", "session.py", "        self.edits = replace(self.edits, **changed)\n        self.exchange.touched = True\n", "        self.edits = replace(self.edits, **changed)\n", BEHAVIOUR),
    Mutation("a key that is set is no change", "session.py", "        if self.written is not True or not self.modified:\n            self.modified = self.written = self.exchange.touched = True", "        if self.written is not True or not self.modified:\n            self.modified = self.written = True", BEHAVIOUR),
    Mutation("a nested change is no change", "session.py", "self.shared = self.exchange.touched = True", "self.shared = True", BEHAVIOUR),
    Mutation("a commit ends what was set while it was under way", "_engine/plan.py", "        if state.written is plan.values:\n", "        if True:\n", UNDER_WAY),
    Mutation("what is set while a commit is under way is no change", "session.py", "if self.written is not True or", "if not self.written or", UNDER_WAY),
    Mutation("a save does not wait for the commit before the response", "_engine/exchange.py", "        if exchange.committing:\n", "        if False:\n", UNDER_WAY),
    Mutation("what a save wrote is done again", "_engine/plan.py", "state.edits.doomed is edits.doomed", "False", UNDER_WAY),
    Mutation("a foreign cookie is not replaced", "_engine/backends.py", "state.written = state.shared = exchange.touched = True", "state.written = state.shared = True", "tests/test_moving_in.py"),
    Mutation("a known cookie never expires", "_engine/backends.py", "if known is not None and now < known.ends_at:", "if known is not None:", "tests/test_backends.py tests/test_behaviour.py"),
    Mutation("a cookie session that was only read is never renewed", "_engine/backends.py", "fill(state, known, None, now)", "fill(state, known, None)", BEHAVIOUR),
    Mutation("a stored session that was only read is never renewed", "_engine/backends.py", "                fill(state, loaded, decoded, now)\n            elif", "                fill(state, loaded, decoded)\n            elif", BEHAVIOUR),
    Mutation("a session with an epoch that was only read is never renewed", "_engine/backends.py", "            fill(state, loaded, decoded, now)\n        except", "            fill(state, loaded, decoded)\n        except", "tests/test_epochs.py"),
    Mutation("one of several cookies is never renewed", "_engine/backends.py", "unseal_all(profile, cookies, now), now), now)", "unseal_all(profile, cookies, now), now))", "tests/hostile/test_attacks.py"),
    Mutation("a cookie that waits is sent after a login elsewhere", "_engine/exchange.py", "    exchange.touched = True  # a cookie that is saved now", "    pass  # a cookie that is saved now", "tests/consistency/test_overtaken.py"),
    Mutation("a renewal writes data", "_engine/plan.py", "return encoded != state.base and (", "return True or (", BEHAVIOUR),
    Mutation("nested changes are trusted to flags", "session.py", "        if type(value) not in _IMMUTABLE:\n            self._mark_shared()\n        return value\n\n    def get", "        return value\n\n    def get", BEHAVIOUR),
    Mutation("a stale cookie is not sealed anew", "_engine/record.py", "0.0 if stale else ", "", BEHAVIOUR),
    Mutation("the server does not enforce the lifetime", "_engine/record.py", "if now >= ends_at:", "if False:", BEHAVIOUR),
    # what outcomes mean
    Mutation("an error of the application's is overlooked", "_engine/exchange.py", "TOLERATED = (SessionSuperseded, ResponseStarted)", "TOLERATED = (SessionSuperseded, ResponseStarted, SerializationError)", OUTCOMES),
    Mutation("a store that cannot do it is overlooked", "_engine/exchange.py", "TOLERATED = (SessionSuperseded, ResponseStarted)", "TOLERATED = (SessionSuperseded, ResponseStarted, NotSupported)", OUTCOMES),
    Mutation("a store's failure comes after others", "_engine/exchange.py", "return not isinstance(error, StoreError)", "return isinstance(error, StoreError)", OUTCOMES),
    Mutation("a foreign exception of a store passes as a refusal", "_engine/backends.py", "                except Exception as exc:\n                    raise unavailable(exc, self.store, profile.name) from exc\n", "                except ZeroDivisionError:\n                    raise\n", OUTCOMES),
    Mutation("a store says that a commit was superseded", "_engine/exchange.py", "if isinstance(exc, StoreError | NotSupported):", "if isinstance(exc, StoreError | NotSupported | SessionSuperseded):", OUTCOMES),
    Mutation("a foreign exception of a store enters a section", "_engine/repository.py", "    except Exception as exc:\n        raise unavailable(exc, store, name) from exc", "    except ZeroDivisionError:\n        raise", OUTCOMES),
    Mutation("a merge that is too large names no session", "_engine/exchange.py", 'SerializationError(f"session {name!r}{exc.path}", exc.reason)', "SerializationError(exc.path, exc.reason)", OUTCOMES),
    Mutation("a load that failed is forgotten", "middleware.py", "session.failure = exc  # raised when the session is used", "session.pending = False", OUTCOMES),
    Mutation("a name of the package is looked for in a store", "_engine/repository.py", "        known = self._known.get(token.handle)\n        if known is None or", '        known = getattr(self._store, "_known", self._known).get(token.handle)\n        if known is None or', "tests/stores/test_contract_only.py"),
    # what is assigned
    Mutation("an assignment is ignored", "middleware.py", "        for key in session.keys() - values.keys():\n            del session[key]\n        session.update(values)\n", "", ASSIGNMENT),
    Mutation("an assignment alone is no change", "middleware.py", "        if exchange.touched or self._scope.get(\"session\") is not self._session:\n            return", "        if exchange.touched:\n            return", ASSIGNMENT),
    Mutation("assigning a dict keeps the other keys", "middleware.py", "        for key in session.keys() - values.keys():\n            del session[key]\n", "", ASSIGNMENT),
    Mutation("assigning nothing does not end the session", "middleware.py", "                session.invalidate()\n            return", "                pass\n            return", ASSIGNMENT),
    Mutation("Litestar's Empty is a foreign session", "_engine/assignment.py", "if value is None or _is_litestars_empty(value):", "if value is None:", ASSIGNMENT),
    Mutation("a foreign session is taken for values", "_engine/assignment.py", "if type(value) is dict:", "if isinstance(value, dict):", ASSIGNMENT),
    Mutation("a foreign session is told each time", "middleware.py", "        settings.warned.add(kind)\n", "", ASSIGNMENT),
    Mutation("a late assignment is forgotten", "middleware.py", "                    await self._take_assigned()\n                except SessionError as exc", "                    pass\n                except SessionError as exc", ASSIGNMENT),
    Mutation("an assignment that failed is forgotten", "middleware.py", "        await self._sessions.get()  # loaded, whoever else is about to load it\n        scope[\"session\"] = session\n", "        scope[\"session\"] = session\n        await self._sessions.get()\n", ASSIGNMENT),
    # records of a newer version
    Mutation("a record of a newer format is read", "_engine/codec.py", "if record.format > FORMAT:", "if False:", NEWER),
    Mutation("a record of a newer shape is no record", "_engine/codec.py", "if _is_newer(data, number):", "if False:", NEWER),
    Mutation("a record of a newer format is put aside", "_engine/repository.py", '        except errors.NewerFormat as exc:\n            logger.warning("session record %s: %s", handle.hex(), exc)\n            raise\n', "", NEWER),
    Mutation("a record carries no number of its format", "_engine/plan.py", ", format=FORMAT\n", "\n", NEWER),
    # owners
    Mutation("a login does not look at the index again", "_engine/owners.py", 'if await index.enlist(name, handle, expires_at) not in (b"", plan.generation):', "if False:", MANAGER),
    Mutation("a session joins its owner only after its commit", "_engine/owners.py", "            plan.generation = await index.enlist(name, handle, expires_at)\n", '            plan.generation = b""\n', MANAGER),
    Mutation("a renewal does not reach the index", "_engine/owners.py", "elif owner is not None and plan.step is not None and plan.step.expires_at is not None:", "elif False:", MANAGER),
    Mutation("a stale entry ends another owner's session", "_engine/owners.py", "                if not self._belongs(handle, stored.data, owner):\n                    return False", "                pass", MANAGER),
    Mutation("numbers and texts are one owner", "crypto/seal.py", 'b"int:%d" % owner', 'b"str:%d" % owner', MANAGER),
    Mutation("an owner's epoch is not compared", "_engine/backends.py", "loaded.record.owner_epoch != await epoch_of(profile, owner)", "await epoch_of(profile, owner) < 0", "tests/test_epochs.py"),
    Mutation("a waiting cookie is sent whatever came between", "_engine/plan.py", "            plan = renewal(state)\n", "            pass\n", "tests/consistency/test_overtaken.py"),
    # Redis
    Mutation("a reply is kept for the next who asks", "stores/redis/connection.py", "                waiter = sent.popleft()[0]\n", "                waiter = next((sent.popleft()[0] for _ in list(sent) if not sent[0][0].done()), sent[0][0])\n", REDIS),
    Mutation("a connection that was logged out goes on", "stores/redis/connection.py", "if isinstance(error, BROKEN):", "if False:", "tests/redis/test_redis_faults.py"),
    Mutation("enough commands wait for the next turn", "stores/redis/connection.py", "elif len(pending) >= ENOUGH and", "elif False and", REDIS),
    Mutation("what the server pushes is taken for a reply", "stores/redis/connection.py", "if isinstance(reply, PushNotification):", "if False:", REDIS),
    # files
    Mutation("no lock on files", "stores/filesystem/directory.py", "        raise Busy from exc", "        del exc", FILES),
    Mutation("touch rewrites the data", "stores/filesystem/files.py", "        os.utime(self._file(handle), ns=(modified, modified), follow_symlinks=False)", "        self._write(self._file(handle), kept, expires_at)", FILES),
    Mutation("corrupt files are taken", "stores/filesystem/files.py", "!= MAGIC + _checksum(stored)", "== b''", FILES),
    Mutation("temporary files stay", "stores/filesystem/directory.py", "            os.unlink(temporary)", "            pass", FILES),
    Mutation("work that was given up begins", "stores/filesystem/workers.py", "    if future.done():  # given up", "    if False:  # given up", FILES),
    Mutation("symbolic links are followed", "stores/filesystem/directory.py", "READ = os.O_RDONLY | os.O_NOFOLLOW", "READ = os.O_RDONLY", FILES),
]  # fmt: skip


def notices(mutation: Mutation, tree: Path) -> bool:
    """Whether a test fails when this is broken."""
    source = ROOT / "asgi_sessions" / mutation.module
    text = source.read_text(encoding="utf-8")
    broken = tree / "asgi_sessions" / mutation.module
    broken.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        ended = run(tree, mutation.tests)
        if ended not in (PASSED, FAILED):
            raise SystemExit(f"{mutation.name}: the tests could not run")
        return ended == FAILED
    finally:
        broken.write_text(text, encoding="utf-8")


def stale(mutation: Mutation) -> str | None:
    """Why a mutation cannot be made, if its piece is not in the module just once."""
    source = ROOT / "asgi_sessions" / mutation.module
    count = source.read_text(encoding="utf-8").count(mutation.old) if source.exists() else 0
    return None if count == 1 else f"{mutation.name}: {mutation.module} has the piece {count} times"


def run(tree: Path, tests: str) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()]
    try:
        return subprocess.run(command, cwd=tree, capture_output=True, timeout=TIMEOUT, check=False).returncode
    except subprocess.TimeoutExpired:
        return FAILED  # a test that hangs has noticed, too


def main() -> int:
    wanted = sys.argv[1:]
    mutations = [m for m in MUTATIONS if not wanted or any(word in m.name for word in wanted)]
    if wrong := [reason for mutation in mutations if (reason := stale(mutation)) is not None]:
        raise SystemExit("\n".join(wrong))
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
