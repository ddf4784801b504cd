"""What Redis does in one step: Lua scripts over one key each."""

from collections.abc import Sequence
from hashlib import sha1

from .connection import PART, pack, pack_parts, unpack

MOST_ARGS = 3  # of a script


class Script:
    """A Lua script over one key, as Redis Cluster wants it."""

    def __init__(self, source: str) -> None:
        self.source = source.encode()
        # Redis names scripts by their SHA-1; nothing secret, nothing to forge.
        digest = sha1(self.source, usedforsecurity=False).hexdigest().encode()
        head = pack_parts([b"EVALSHA", digest, b"1"])
        self._formats = [b"*%d\r\n%b" % (4 + args, head) + PART * (1 + args) for args in range(MOST_ARGS + 1)]

    def by_digest(self, key: bytes, args: Sequence[bytes]) -> bytes:
        """The packed command that runs it, if the server knows it."""
        # One format for the whole command takes a third of the time of pack().
        if len(args) == 2:  # as nearly all have: in two thirds of that
            first, second = args
            return self._formats[2] % (len(key), key, len(first), first, len(second), second)
        sized: tuple[int | bytes, ...] = (len(key), key)
        for arg in args:
            sized += (len(arg), arg)
        return self._formats[len(args)] % sized

    def by_source(self, key: bytes, args: Sequence[bytes]) -> bytes:
        """The packed command that runs it, and makes it known to the server."""
        return pack([b"EVAL", self.source, b"1", key, *args])

    def again(self, by_digest: bytes) -> bytes:
        """The command by source for one by digest."""
        _, _, _, key, *args = unpack(by_digest)
        return self.by_source(key, args)


# -- records: a value is the version, 8 bytes, then the data; what is shorter is not ours, and stays as it is ----------

# ARGV: value, deadline. 1 if the key has the value's version now.
CREATE = Script("""\
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PXAT', ARGV[2]) then return 1 end
if redis.call('GETRANGE', KEYS[1], 0, 7) == string.sub(ARGV[1], 1, 8) then return 1 end
return 0
""")

# ARGV: version, value, deadline or nothing. 1 if it was replaced now, else what is kept.
SWAP = Script("""\
local version = redis.call('GETRANGE', KEYS[1], 0, 7)
if version == ARGV[1] then
  if ARGV[3] then redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
  else redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL') end
  return 1
end
if #version < 8 then return false end
return redis.call('GET', KEYS[1])
""")

# ARGV: version, deadline. 1 if the deadline was moved.
TOUCH = Script("""\
if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return 0 end
return redis.call('PEXPIREAT', KEYS[1], ARGV[2])
""")

# ARGV: version or nothing. What is kept, if anything.
DELETE = Script("""\
local version = redis.call('GETRANGE', KEYS[1], 0, 7)
if #version < 8 then return false end
if ARGV[1] and version ~= ARGV[1] then return redis.call('GET', KEYS[1]) end
redis.call('DEL', KEYS[1])
return false
""")

# ARGV: version. Renames a record that is still that one; its deadline goes along, and the cluster's hash slot stays.
QUARANTINE = Script("""\
if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return 0 end
local aside = KEYS[1] .. ':corrupt'
if not string.find(KEYS[1], '{', 1, true) then aside = '{' .. KEYS[1] .. '}:corrupt' end
redis.call('RENAME', KEYS[1], aside)
return 1
""")

# -- owners: a sorted set of handles by deadline, in milliseconds; the last generations are one more member, "g" and
# then newest first. Its score is their deadline made negative, so that it comes before all handles. -------------------

OWNER = """\
local function generations()
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  local score = tonumber(first[2] or 0)
  if score < 0 then return first[1], -score end
  return '', 0
end
local function keep_until_the_last_deadline()
  local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
  local _, deadline = generations()
  if last[1] then redis.call('PEXPIREAT', KEYS[1], math.max(last[2], deadline)) end
end"""

# ARGV: handle, deadline. The generation, if any. Each call leaves another score, up to a minute later, as the entry's
# mark; the clock that decides what is past is the server's, as for the records. Removes a few that are past.
ENLIST = Script(f"""\
{OWNER}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local deadline = math.max(ARGV[2], redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
redis.call('ZADD', KEYS[1], deadline + 1 + (time[1] * 1000000 + time[2]) % 60000, ARGV[1])
local past = redis.call('ZRANGE', KEYS[1], 0, string.format('(%.0f', now), 'BYSCORE', 'LIMIT', 0, 16)
if past[1] then redis.call('ZREM', KEYS[1], unpack(past)) end
local kept, ends = generations()
if ends > 0 and ends <= now then
  redis.call('ZREM', KEYS[1], kept)
  kept = ''
end
keep_until_the_last_deadline()
return string.sub(kept, 2, 9)
""")

# Handles and marks, packed, 24 bytes each.
LISTED = Script("""\
local found = redis.call('ZRANGE', KEYS[1], 0, '+inf', 'BYSCORE', 'WITHSCORES')
local packed = {}
for at = 1, #found, 2 do packed[#packed + 1] = found[at] .. struct.pack('>d', found[at + 1]) end
return table.concat(packed)
""")

# ARGV: handles and marks, packed as LISTED does it. Mark 0: whatever it is.
DELIST = Script("""\
for at = 1, #ARGV[1], 24 do
  local handle, mark = struct.unpack('>c16d', ARGV[1], at)
  if mark == 0 or tonumber(redis.call('ZSCORE', KEYS[1], handle) or 0) == mark then
    redis.call('ZREM', KEYS[1], handle)
  end
end
return 1
""")

# ARGV: generation, deadline. That it begins with ZREM lets it do the rest on a server that is out of memory, as DELETE.
BAR = Script(f"""\
{OWNER}
local kept, deadline = generations()
redis.call('ZREM', KEYS[1], kept)
local new = true
for at = 2, #kept, 8 do
  if string.sub(kept, at, at + 7) == ARGV[1] then new = false end
end
if new then kept = 'g' .. ARGV[1] .. string.sub(kept, 2, 25) end
redis.call('ZADD', KEYS[1], -math.max(ARGV[2], deadline), kept)
keep_until_the_last_deadline()
return 1
""")
