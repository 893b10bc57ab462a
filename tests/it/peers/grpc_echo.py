"""A real gRPC server whose messages are plain bytes, for tests/it/grpc.rs.

    grpc_echo.py ADDRESS [CERTIFICATE KEY]

ADDRESS is HOST:0. Prints its port. Then reads lines: `fail CODE` has every Unary end with that status, `fail 0` none. Answers
each with `done`. Ends with its input.
"""

import sys
import time
from concurrent import futures

import grpc

CODES = {code.value[0]: code for code in grpc.StatusCode}


class Echo:
    code = 0

    def unary(self, request, context):
        if self.code:
            context.abort(CODES[self.code], "told to")
        left = context.time_remaining()
        context.set_trailing_metadata((("x-left", "none" if left is None or left > 1e6 else f"{left:.3f}"),))
        return request

    def fail(self, request, context):
        context.abort(CODES[int(request)], "as asked")

    def late(self, request, context):
        yield b"one"
        context.abort(CODES[int(request)], "after a message")

    def slow(self, request, context):
        for _ in range(600):
            if not context.is_active():
                break
            time.sleep(0.05)
        return request

    def server(self, request, context):
        for number in range(int(request)):
            yield str(number).encode()

    def client(self, requests, context):
        return str(sum(len(request) for request in requests)).encode()

    def bidi(self, requests, context):
        for request in requests:
            yield request[::-1]


def main():
    address, tls = sys.argv[1], sys.argv[2:]
    echo = Echo()
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(echo.unary),
        "Fail": grpc.unary_unary_rpc_method_handler(echo.fail),
        "Slow": grpc.unary_unary_rpc_method_handler(echo.slow),
        "Late": grpc.unary_stream_rpc_method_handler(echo.late),
        "Server": grpc.unary_stream_rpc_method_handler(echo.server),
        "Client": grpc.stream_unary_rpc_method_handler(echo.client),
        "Bidi": grpc.stream_stream_rpc_method_handler(echo.bidi),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    if tls:
        certificate, key = (open(path, "rb").read() for path in tls)
        port = server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
    else:
        port = server.add_insecure_port(address)
    server.start()
    print(port, flush=True)
    for line in sys.stdin:
        echo.code = int(line.split()[1])
        print("done", flush=True)


main()
