"""JSON-RPC 2.0 over Redis lists: a client and a server. Written from docs/json_rpc.md."""

import contextlib
import hashlib
import inspect
import math
import re
import secrets
import sys
import threading
import time
import traceback

import redis

from peer import BLOCK, connect, pauses, persist, read_json, redis_time, write_json

LEASE = 2.0  # seconds; all servers of a queue must agree on it
ANSWER_EXPIRY = 60_000  # ms
MAX_BATCH = 1000
MAX_DELIVERIES = 5

# Puts back what a dead server held, the newest first, unless it has shown in between that it lives. What has killed
# its servers again and again goes to the dead letters; of equal texts only the oldest counts. The server stays known
# while a read of its own may still wait in Redis.
TAKE_OVER = """
local seen = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not seen or tonumber(seen) > tonumber(ARGV[2]) then return end
for _ = 1, redis.call('LLEN', KEYS[2]) do
  local text = redis.call('LINDEX', KEYS[2], 0)
  local digest, oldest = redis.sha1hex(text), not redis.call('LPOS', KEYS[2], text, 'RANK', 2)
  local count = oldest and redis.call('HINCRBY', KEYS[4], digest, 1) or 0
  if count >= tonumber(ARGV[3]) then
    redis.call('HINCRBY', KEYS[4], digest, -count)
    redis.call('LMOVE', KEYS[2], KEYS[5], 'LEFT', 'LEFT')
    redis.call('LTRIM', KEYS[5], 0, 9999)
  else
    redis.call('LMOVE', KEYS[2], KEYS[3], 'LEFT', 'RIGHT')
  end
end
redis.call('PEXPIRE', KEYS[4], 86400000)
if tonumber(seen) <= tonumber(ARGV[2]) - 60000 then redis.call('ZREM', KEYS[1], ARGV[1]) end
"""


class RPCError(Exception):
    """The error of a method: raise it in a method, or catch it from `Client.call`."""

    def __init__(self, code, message, data=None):
        super().__init__(message)
        self.code, self.message, self.data = code, message, data

    def to_dict(self):
        error = {"code": self.code, "message": self.message}
        return error if self.data is None else {**error, "data": self.data}


class TimedOut(Exception):
    """No answer came in time; its argument is "not_sent" or "unclaimed" (it did not run), or "unknown"."""


class Client:
    """Calls methods. One thread at a time."""

    def __init__(self, url, queue):
        self.redis, self.queue, self.broken = connect(url), queue, False
        self.reply_to = f"{queue}:reply:{secrets.token_hex(16)}"

    def call(self, method, params=None, timeout=5.0):
        until, request_id = time.monotonic() + timeout, secrets.token_hex(8)
        try:
            now = persist(lambda: redis_time(self.redis), until)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise TimedOut("not_sent") from error
        request = self.request(method, params)
        text = write_json({**request, "id": request_id, "reply_to": self.reply_to,
                           "deadline": now + int((until - time.monotonic()) * 1000)})
        # A lost reply does not tell whether the request arrived. Sent again it could run twice, so wait for its answer.
        self.broken = True
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
            self.redis.lpush(self.queue, text)
            self.broken = False
        answer = self.answer_to(request_id, until)
        if answer is None:
            raise TimedOut("unclaimed" if self.withdraw(text) else "unknown")
        return self.result(answer)

    def notify(self, method, params=None):
        """After a ConnectionError or TimeoutError of redis-py it may have arrived: only the caller knows what to do."""
        self.redis.lpush(self.queue, write_json(self.request(method, params)))

    def close(self):
        self.redis.delete(self.reply_to)
        self.redis.close()

    def request(self, method, params):
        request = {"jsonrpc": "2.0", "method": method}
        return request if params is None else {**request, "params": params}

    def answer_to(self, request_id, until):
        """Drops the answers to others: they are late, duplicates or foreign."""
        while (left := until - time.monotonic()) > 0:
            try:
                popped = persist(lambda: self.pop(min(max(left, 0.01), BLOCK)), until)
            except redis.RedisError:
                return None
            # Nobody can guess the id, so what has it is the answer, even if it cannot be read.
            if popped and request_id.encode() in popped[1]:
                answer = read_json(popped[1])
                if isinstance(answer, dict) and answer.get("id") == request_id:
                    return answer
        return None

    def pop(self, seconds):
        try:
            return self.redis.brpop(self.reply_to, seconds)
        except (redis.ConnectionError, redis.TimeoutError):
            self.broken = True
            raise

    def withdraw(self, text):
        """Whether it was taken back and no server ever had it, so that it did not run. Where a connection broke, Redis may
        be another one that does not know who had it."""
        with contextlib.suppress(redis.RedisError):
            removed = self.redis.lrem(self.queue, -1, text) == 1
            put_back = self.redis.hexists(f"{self.queue}:deliveries", hashlib.sha1(text.encode()).hexdigest())
            return removed and not put_back and not self.broken

    def result(self, answer):
        error = answer.get("error")
        if error is None and "result" in answer:
            return answer["result"]
        if isinstance(error, dict) and isinstance(error.get("code"), int) and isinstance(error.get("message"), str):
            raise RPCError(error["code"], error["message"], error.get("data"))
        raise ValueError("the server's answer has neither a result nor an error of JSON-RPC")


class Server:
    """Serves methods, one request after the other, each at least once."""

    def __init__(self, url, queue, methods):
        self.redis, self.queue, self.methods = connect(url), queue, methods
        self.id, self.offset, self.left = secrets.token_hex(16), 0, False
        self.ended = False
        self.processing, self.servers = f"{queue}:processing:{self.id}", f"{queue}:servers"

    def leave(self):
        """Makes `serve` return when the running request is done. A signal handler may call it."""
        self.left = True

    def serve(self):
        house = threading.Thread(target=self.keep_house, daemon=True)
        house.start()
        lost, looked, waits = False, time.monotonic(), pauses()
        while not self.left:
            try:
                self.beat()  # before it takes anything: nobody takes over from a server that is not known
                # Where a reply got lost, the request it brought stands on the own list, and nobody else looks there. A
                # read of a connection that broke may also bring one later.
                if time.monotonic() - looked > LEASE:
                    lost, looked = True, time.monotonic()
                text = self.redis.lindex(self.processing, -1) if lost else self.redis.blmove(
                    self.queue, self.processing, BLOCK, "RIGHT", "LEFT")
            except redis.RedisError as error:
                print(f"taking requests: {error}", file=sys.stderr)
                lost = True
                time.sleep(next(waits))
                continue
            lost, waits = lost and text is not None, pauses()
            if text is not None:
                self.handle(text)
        self.ended = True  # not before: it showed that it lives while the last method ran
        house.join()
        with contextlib.suppress(redis.RedisError):  # else others take over in a lease's time
            while self.redis.lmove(self.processing, self.queue, "LEFT", "RIGHT"):
                pass
            self.redis.zrem(self.servers, self.id)

    def handle(self, text):
        reply_to, deadline, answer = self.answer_to(text)
        # Never write to a key that is no reply list of this queue, whatever the request says.
        good = isinstance(reply_to, str) and re.fullmatch(
            re.escape(self.queue) + ":reply:[A-Za-z0-9_-]{16,128}", reply_to)
        until = min(deadline, self.now() + ANSWER_EXPIRY)

        def finish():
            with self.redis.pipeline(transaction=True) as commands:
                if answer and good and self.now() < until:
                    commands.lpush(reply_to, answer).pexpire(reply_to, ANSWER_EXPIRY)
                commands.lrem(self.processing, -1, text).execute(raise_on_error=False)

        # Twice is better than never: the client ignores the second answer, and the method does not run again.
        try:
            persist(finish, stopped=lambda: self.left)
        except redis.RedisError as error:  # it leaves, and others take over what it holds
            print(f"an answer was lost: {error}", file=sys.stderr)

    def answer_to(self, text):
        """The list for the answer, the request's deadline, and the answer: None if there is nothing to say."""
        prefix = re.match(rb'([^\s"!]+)!', text)  # what is no JSON-RPC can name its list so
        prefixed = prefix and prefix[1].decode("ascii", "replace")
        try:
            message = read_json(text[prefix.end():] if prefix else text)
        except ValueError as error:
            print(f"a request that cannot be read: {error}", file=sys.stderr)
            return prefixed, math.inf, self.failure(None, RPCError(-32700, "Parse error"))
        batch = message if isinstance(message, list) else [message]
        carriers = [each for each in batch if isinstance(each, dict) and (each is message or "reply_to" in each)]
        carrier = carriers[0] if carriers else {}
        reply_to, deadline = prefixed or carrier.get("reply_to"), carrier.get("deadline")
        if type(deadline) is not int or deadline < 0:  # True is an int, too
            deadline = math.inf
        if not 0 < len(batch) <= MAX_BATCH:
            ids = [self.id_of(each) for each in batch if self.id_of(each) is not None]
            return reply_to, deadline, self.failure(ids[0] if ids else None, RPCError(-32600, "Invalid Request"))
        # Each by itself: the time may run out in between.
        answers = [self.run(request) for request in batch if self.now() < deadline]
        answers = [answer for answer in answers if answer is not None]
        answer = f"[{','.join(answers)}]" if isinstance(message, list) else "".join(answers)
        return reply_to, deadline, answer if answers else None

    def run(self, request):
        request_id = self.id_of(request)
        if not self.is_request(request):
            return self.failure(request_id, RPCError(-32600, "Invalid Request"))
        try:
            method = self.methods.get(request["method"])
            if method is None:
                raise RPCError(-32601, "Method not found")
            arguments = self.bind(method, request.get("params", []))
            answer = self.answer(request_id, result=method(*arguments.args, **arguments.kwargs))
        except RPCError as error:
            answer = self.failure(request_id, error)
        except Exception:  # its message may hold secrets
            traceback.print_exc()
            answer = self.failure(request_id, RPCError(-32603, "Internal error"))
        return answer if "id" in request else None

    def bind(self, method, params):
        try:
            bind = inspect.signature(method).bind
            return bind(**params) if isinstance(params, dict) else bind(*params)
        except TypeError as error:
            raise RPCError(-32602, "Invalid params", str(error)) from None

    def is_request(self, request):
        return (isinstance(request, dict) and request.get("jsonrpc") == "2.0"
                and isinstance(request.get("method"), str) and isinstance(request.get("params", []), (list, dict))
                and self.is_id(request.get("id")))

    def is_id(self, value):
        if isinstance(value, float):
            return math.isfinite(value)  # 1e400 is read as Infinity
        return value is None or isinstance(value, (str, int)) and not isinstance(value, bool)

    def id_of(self, request):
        """Also of what is no request: the client knows its call by it."""
        request_id = request.get("id") if isinstance(request, dict) else None
        return request_id if self.is_id(request_id) else None

    def failure(self, request_id, error):
        try:
            return self.answer(request_id, error=error.to_dict())
        except Exception:  # its data is no JSON
            return self.answer(request_id, error=RPCError(-32603, "Internal error").to_dict())

    def answer(self, request_id, **outcome):
        return write_json({"jsonrpc": "2.0", **outcome, "id": request_id})

    def keep_house(self):
        # After an outage all servers look dead. Those that live need a lease's time to show it.
        steady = last = time.monotonic()
        while not self.ended:
            try:
                self.beat()
                began, last = last, time.monotonic()
                steady = last if last - began > LEASE else steady
                if last - steady > LEASE:
                    self.take_over()
            except redis.RedisError:
                steady = time.monotonic()
            time.sleep(LEASE / 2)

    def now(self):
        """Redis's time in ms."""
        return int(time.monotonic() * 1000) + self.offset

    def beat(self):
        self.offset = redis_time(self.redis) - int(time.monotonic() * 1000)
        self.redis.zadd(self.servers, {self.id: self.now()})

    def take_over(self):
        limit = self.now() - int(LEASE * 1000)
        for dead in self.redis.zrange(self.servers, "-inf", limit, byscore=True):
            keys = [self.servers, f"{self.queue}:processing:".encode() + dead, self.queue,
                    f"{self.queue}:deliveries", f"{self.queue}:dead"]
            self.redis.eval(TAKE_OVER, len(keys), *keys, dead, limit, MAX_DELIVERIES)
