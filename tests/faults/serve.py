import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
began = time.time()
class Handler(BaseHTTPRequestHandler):
    def answer(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        up = time.time() - began >= float(os.environ.get("START_SECONDS", "0"))
        if self.path == "/health":
            up = up and not os.path.exists("/root/.cache/huggingface/bad")
            return self.answer(200 if up else 503, b"{}")
        self.answer(200, json.dumps({"object": "list", "data": [{"id": sys.argv[2]}]}).encode())
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(float(os.environ.get("ANSWER_SECONDS", "0")))
        message = {"role": "assistant", "content": "hello"}
        if not asked.get("stream"):
            return self.answer(200, json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode())
        piece = json.dumps({"choices": [{"index": 0, "delta": message}]})
        self.answer(200, f"data: {piece}\n\ndata: [DONE]\n\n".encode(), "text/event-stream")
    def log_message(self, *_):
        pass
if os.environ.get("FAIL"):
    sys.exit("refusing to start")
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
