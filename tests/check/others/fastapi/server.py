"""A FastAPI service with one of two packages, as their READMEs show them: ASGI_IDEMPOTENCY_HEADER chooses the first."""

import asyncio
import os

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel

app = FastAPI()
payments = 0

if os.environ.get("PACKAGE") == "asgi-idempotency-header":
    from idempotency_header_middleware import IdempotencyHeaderMiddleware
    from idempotency_header_middleware.backends.memory import MemoryBackend

    app.add_middleware(IdempotencyHeaderMiddleware, backend=MemoryBackend())
else:
    from fastapi_idempotency_key import IdempotencyMiddleware, MemoryBackend

    app.add_middleware(IdempotencyMiddleware, backend=MemoryBackend())


@app.middleware("http")
async def log_in(request: Request, call_next):
    """It is added last, so it is the outer one."""
    if request.method == "POST" and "authorization" not in request.headers:
        return PlainTextResponse("log in", 401)
    return await call_next(request)


class Payment(BaseModel):
    account: str
    amount: float


@app.post("/payments")
async def pay(payment: Payment, request: Request):
    global payments
    await asyncio.sleep(int(request.headers.get("x-delay", "0")) / 1000)
    status = int(request.headers.get("x-status", "201"))
    if status != 201:
        return JSONResponse({"error": "as asked"}, status)
    payments += 1
    headers = {"location": f"/payments/{payments}"}
    return JSONResponse({"id": payments, "amount": payment.amount}, 201, headers)


@app.get("/payments/count")
async def count():
    return payments
