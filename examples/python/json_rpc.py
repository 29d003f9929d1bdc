"""JSON-RPC 2.0 over Redis lists: a client and a server. Written from docs/json_rpc.md."""

import inspect
import json
import math
import re
import secrets
import threading
import time

import redis

LEASE = 2.0  # seconds; all servers of a queue must agree on it
ANSWER_EXPIRY = 60_000  # ms


class RPCError(Exception):
    """The error of a method: raise it in a method, or catch it from `Client.call`."""

    def __init__(self, code, message, data=None):
        super().__init__(message)
        self.code, self.message, self.data = code, message, data

    def to_dict(self):
        error = {"code": self.code, "message": self.message}
        return error if self.data is None else {**error, "data": self.data}


class Client:
    """Calls methods. One thread at a time."""

    def __init__(self, url, queue):
        self.redis = redis.Redis.from_url(url, socket_timeout=None)
        self.queue, self.last_id = queue, 0
        self.reply_to = f"{queue}:reply:{secrets.token_hex(16)}"

    def call(self, method, params=None, timeout=5.0):
        self.last_id += 1
        request = {"jsonrpc": "2.0", "method": method, "id": self.last_id, "reply_to": self.reply_to,
                   "deadline": self.now() + int(timeout * 1000)}
        if params is not None:
            request["params"] = params
        text, until = json.dumps(request), time.monotonic() + timeout
        self.redis.lpush(self.queue, text)
        while (left := until - time.monotonic()) > 0:
            popped = self.redis.brpop(self.reply_to, max(left, 0.01))
            answer = json.loads(popped[1]) if popped else None
            if answer and answer["id"] == self.last_id:  # else it is late
                return self.result(answer)
        # Taken back: no server had it, so it did not run.
        withdrawn = self.redis.lrem(self.queue, -1, text)
        raise TimeoutError("unclaimed" if withdrawn else "unknown")

    def notify(self, method, params=None):
        request = {"jsonrpc": "2.0", "method": method}
        self.redis.lpush(self.queue, json.dumps(request if params is None else {**request, "params": params}))

    def result(self, answer):
        if "error" in answer:
            error = answer["error"]
            raise RPCError(error["code"], error["message"], error.get("data"))
        return answer["result"]

    def now(self):
        seconds, micros = self.redis.time()
        return seconds * 1000 + micros // 1000


class Server:
    """Serves methods, one request after the other, each at least once."""

    def __init__(self, url, queue, methods):
        self.redis = redis.Redis.from_url(url, socket_timeout=None)
        self.queue, self.methods, self.id = queue, methods, secrets.token_hex(16)
        self.processing = f"{queue}:processing:{self.id}"

    def serve(self):
        self.beat()
        threading.Thread(target=self.keep_house, daemon=True).start()
        while True:
            text = self.redis.blmove(self.queue, self.processing, 10, "RIGHT", "LEFT")
            if text is not None:
                self.handle(text)
                self.redis.lrem(self.processing, -1, text)

    def handle(self, text):
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return  # nothing in it says where an answer could go
        requests = message if isinstance(message, list) else [message]
        carrier = next((each for each in requests if isinstance(each, dict) and "reply_to" in each), {})
        deadline = carrier.get("deadline")
        if isinstance(deadline, int) and deadline < self.now():
            return
        answers = [answer for answer in map(self.run, requests) if answer is not None]
        reply_to = str(carrier.get("reply_to"))
        # Never write to a key that is no reply list of this queue, whatever the request says.
        if answers and re.fullmatch(re.escape(self.queue) + ":reply:[A-Za-z0-9_-]{16,128}", reply_to):
            self.redis.lpush(reply_to, f"[{','.join(answers)}]" if isinstance(message, list) else answers[0])
            self.redis.pexpire(reply_to, ANSWER_EXPIRY)

    def run(self, request):
        if not self.is_request(request):
            return self.failure(None, RPCError(-32600, "Invalid Request"))
        try:
            method = self.methods.get(request["method"])
            if method is None:
                raise RPCError(-32601, "Method not found")
            arguments = self.bind(method, request.get("params", []))
            answer = self.answer(request.get("id"), result=method(*arguments.args, **arguments.kwargs))
        except RPCError as error:
            answer = self.failure(request.get("id"), error)
        except Exception:  # its message may hold secrets
            answer = self.failure(request.get("id"), RPCError(-32603, "Internal error"))
        return answer if "id" in request else None

    def bind(self, method, params):
        try:
            bind = inspect.signature(method).bind
            return bind(**params) if isinstance(params, dict) else bind(*params)
        except TypeError as error:
            raise RPCError(-32602, "Invalid params", str(error)) from None

    def is_request(self, request):
        return (isinstance(request, dict) and request.get("jsonrpc") == "2.0"
                and isinstance(request.get("method"), str) and isinstance(request.get("params", []), (list, dict)))

    def failure(self, request_id, error):
        try:
            return self.answer(request_id, error=error.to_dict())
        except Exception:  # its data is no JSON
            return self.answer(request_id, error=RPCError(-32603, "Internal error").to_dict())

    def answer(self, request_id, **outcome):
        # Python reads, and would write, numbers that are not JSON.
        if not isinstance(request_id, (str, int)) and not (isinstance(request_id, float) and math.isfinite(request_id)):
            request_id = None
        return json.dumps({"jsonrpc": "2.0", **outcome, "id": request_id}, allow_nan=False)

    def keep_house(self):
        # Others are not taken for dead before they had the time to show that they live.
        steady, last = time.monotonic(), time.monotonic()
        while True:
            try:
                self.beat()
                if time.monotonic() - last > LEASE:
                    steady = time.monotonic()
                last = time.monotonic()
                if last - steady > LEASE:
                    self.take_over()
            except redis.RedisError:
                steady = time.monotonic()
            time.sleep(LEASE / 2)

    def beat(self):
        self.redis.zadd(f"{self.queue}:servers", {self.id: self.now()})

    def take_over(self):
        limit = self.now() - int(LEASE * 1000)
        for dead in self.redis.zrange(f"{self.queue}:servers", "-inf", limit, byscore=True):
            while self.redis.lmove(f"{self.queue}:processing:{dead.decode()}", self.queue, "LEFT", "RIGHT"):
                pass
            self.redis.zrem(f"{self.queue}:servers", dead)

    now = Client.now
