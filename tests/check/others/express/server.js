// An Express service with the middleware express-idempotency, as its README shows it.
const express = require('express');
const idempotency = require('express-idempotency');

const app = express();
let payments = 0;

app.get('/payments/count', (request, response) => response.send(String(payments)));
app.use((request, response, next) => (request.get('authorization') ? next() : response.sendStatus(401)));
app.use(express.json());
app.post('/payments', idempotency.idempotency(), async (request, response) => {
  // The middleware has answered already.
  if (idempotency.getSharedIdempotencyService().isHit(request)) return;
  await new Promise((done) => setTimeout(done, Number(request.get('x-delay') ?? 0)));
  const status = Number(request.get('x-status') ?? 201);
  if (status !== 201) return response.sendStatus(status);
  payments += 1;
  response.status(201).location(`/payments/${payments}`).json({ id: payments, amount: request.body.amount });
});

app.listen(process.env.PORT, '127.0.0.1');
