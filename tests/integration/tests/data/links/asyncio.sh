# So many connections at once, each with words of its own.
cat > peers.py << 'END'
import asyncio, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))

async def serve(address):
    async def echo(reader, writer):
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
        writer.close()
    server = await asyncio.start_server(echo, address, 7000, backlog=2048)
    print("ready", flush=True)
    await server.serve_forever()

async def ask(address, count):
    ends = []
    # Linux takes no more than net.core.somaxconn at once.
    for at in range(0, count, 100):
        ends += await asyncio.gather(*(asyncio.open_connection(address, 7000) for _ in range(100)))
    async def talk(number, reader, writer):
        words = b"%d:" % number * 300
        writer.write(words)
        right = await reader.readexactly(len(words)) == words
        writer.close()
        return right
    told = await asyncio.gather(*(talk(number, *end) for number, end in enumerate(ends)))
    print("asyncio:", address, "heard", sum(told), "of", len(told))

asyncio.run(serve(sys.argv[2]) if sys.argv[1] == "serve" else ask(sys.argv[2], int(sys.argv[3])))
END
ask() {
  mkfifo $3.$2
  $3 python3 peers.py serve $2 > $3.$2 & server=$!
  read -r _ < $3.$2
  $1 python3 peers.py ask $2 2000
  kill $server
}
ask left $right4 right
ask right $left6 left
