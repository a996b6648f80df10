cat > work.py << 'END'
import asyncio, hashlib, http.server, multiprocessing, selectors, socket, socketserver, threading, urllib.request
from multiprocessing.managers import BaseManager

async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data); await writer.drain()
    writer.close()

async def client(port, n):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = hashlib.sha256(b"%d" % n).digest() * 1000
    async def feed():
        writer.write(data); await writer.drain(); writer.write_eof()
    _, got = await asyncio.gather(feed(), reader.read(-1))
    writer.close(); await writer.wait_closed()
    assert got == data, len(got)
    return len(got)

class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, done): self.done = done
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, addr):
        if self.done: self.done.set_result(data)
        else: self.transport.sendto(data[::-1], addr)

async def streams():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        print("asyncio streams", sum(await asyncio.gather(*(client(port, n) for n in range(50)))))
    loop = asyncio.get_running_loop()
    one, _ = await loop.create_datagram_endpoint(lambda: Datagrams(None), ("127.0.0.1", 0))
    done = loop.create_future()
    two, _ = await loop.create_datagram_endpoint(lambda: Datagrams(done), remote_addr=one.get_extra_info("sockname"))
    two.sendto(b"datagram"); print("asyncio datagrams", await asyncio.wait_for(done, 5))
    one.close(); two.close()
    process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    print("asyncio subprocess", (await process.communicate(b"through cat"))[0])

class Upper(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile: self.wfile.write(line.upper())

class Quiet(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200); self.end_headers(); self.wfile.write(hashlib.md5(body).hexdigest().encode())
    def log_message(self, *args): pass

class Manager(BaseManager): pass

def add(a, b): return a + b

def serve(ready):
    Manager.register("add", callable=add)
    Manager.register("queue", callable=lambda q=__import__("queue").Queue(): q)
    server = Manager(("127.0.0.1", 7050), b"secret").get_server()
    ready.set(); server.serve_forever()

if __name__ == "__main__":
    asyncio.run(streams())

    for kind in (selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector):
        with kind() as selector:
            pairs = []
            listener = socket.create_server(("127.0.0.1", 0))
            for _ in range(20):
                a = socket.create_connection(listener.getsockname()); b, _ = listener.accept()
                selector.register(b, selectors.EVENT_READ); pairs.append((a, b))
            assert selector.select(0) == []
            for a, _ in pairs[::2]: a.sendall(b"x")
            ready = set()
            while len(ready) < 10: ready |= {key.fileobj for key, _ in selector.select(5)}
            assert ready == {b for _, b in pairs[::2]}
            print(kind.__name__, len(ready))
            for pair in pairs: pair[0].close(), pair[1].close()
            listener.close()

    for kind in (socketserver.ThreadingTCPServer, socketserver.ForkingTCPServer):
        with kind(("127.0.0.1", 0), Upper) as server:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
            with socket.create_connection(server.server_address) as s:
                s.sendall(b"hello\nworld\n"); s.shutdown(socket.SHUT_WR)
                print(kind.__name__, s.makefile().read().split())
            server.shutdown()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        url = "http://127.0.0.1:%d/" % server.server_port
        print("http.server", urllib.request.urlopen(url, b"body" * 100000).read())
        server.shutdown()

    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        ready = context.Event()
        process = context.Process(target=serve, args=(ready,)); process.start(); ready.wait(10)
        Manager.register("add"); Manager.register("queue")
        manager = Manager(("127.0.0.1", 7050), b"secret"); manager.connect()
        manager.queue().put({"key": [1, 2]})
        print("manager", method, manager.add(2, 3)._getvalue() if hasattr(manager.add(2, 3), "_getvalue") else manager.add(2, 3), manager.queue().get())
        process.terminate(); process.join()
        with context.Pool(2) as pool: print("pool", method, sum(pool.map(abs, range(-50, 50))))
END
python3 work.py
