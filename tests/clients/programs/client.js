// client.js URL COUNT CA: one agent, whose connections the server ends.
const fs = require('fs');
const https = require('https');

const [url, count, authority] = process.argv.slice(2);
const agent = new https.Agent({ ca: fs.readFileSync(authority) });

function get(left) {
  if (left === 0) return;
  https.get(url, { agent }, (response) => {
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
    response.resume();
    response.on('close', () => get(left - 1));
  });
}
get(Number(count));
