seq 1 50000 > data
cat > work.js << 'END'
const http = require('http'), net = require('net'), dgram = require('dgram'), fs = require('fs'), crypto = require('crypto'), cp = require('child_process');
const md5 = (b) => crypto.createHash('md5').update(b).digest('hex');
const get = (port, path, agent) => new Promise((ok, no) => http.get({ host: '127.0.0.1', port, path, agent }, (r) => { const parts = []; r.on('data', (d) => parts.push(d)); r.on('end', () => ok(Buffer.concat(parts))); }).on('error', no));
(async () => {
  const file = process.env.D + '/data';
  const server = http.createServer((q, r) => q.url === '/file' ? fs.createReadStream(file).pipe(r) : r.end('hello ' + q.url));
  await new Promise((ok) => server.listen(0, '127.0.0.1', ok));
  const port = server.address().port, agent = new http.Agent({ keepAlive: true, maxSockets: 10 });
  console.log(String(await get(port, '/x')));
  const all = await Promise.all(Array.from({ length: 50 }, () => get(port, '/file', agent)));
  console.log(new Set(all.map(md5)).size, md5(all[0]), md5(fs.readFileSync(file)));
  agent.destroy(); server.close();
  const echo = net.createServer((s) => s.pipe(s)).listen(0, '::1');
  await new Promise((ok) => echo.on('listening', ok));
  const s = net.connect(echo.address().port, '::1'); s.end(Buffer.alloc(1 << 20, 'x'));
  let n = 0; for await (const d of s) n += d.length; console.log('echoed', n); echo.close();
  const a = dgram.createSocket('udp4'), b = dgram.createSocket('udp4');
  await new Promise((ok) => a.bind(0, '127.0.0.1', ok));
  const got = new Promise((ok) => a.on('message', (m, from) => ok(String(m) + ' ' + from.address)));
  b.send('datagram', a.address().port, '127.0.0.1'); console.log(await got); a.close(); b.close();
  await new Promise((ok) => net.connect(7001, '127.0.0.1').on('error', (e) => { console.log(e.code); ok(); }));
  fs.writeFileSync(process.env.D + '/made', 'by node'); console.log(cp.execSync('cat ' + process.env.D + '/made').toString());
  await new Promise((ok) => cp.spawn('sh', ['-c', 'wc -c < ' + file]).stdout.on('data', (d) => { console.log('child', String(d).trim()); ok(); }));
  console.log(Object.keys(require('os').networkInterfaces()).length);
})();
END
node work.js
