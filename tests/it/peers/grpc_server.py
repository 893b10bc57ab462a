"""A real gRPC server with the health service of grpcio-health-checking, for tests/it/grpc_health.rs.

    grpc_server.py ADDRESS [CERTIFICATE KEY]

ADDRESS is HOST:0 or unix:PATH. Prints its port. Then reads lines: `SERVICE STATUS` sets one, with `-` for the server as a
whole; `off` takes the health service away, by answering UNIMPLEMENTED. Answers each with `done`. Ends with its input.
"""

import sys
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


class Switched(grpc.ServerInterceptor):
    """Takes every method away once it is off."""

    off = False

    def intercept_service(self, continuation, details):
        return None if self.off else continuation(details)


def main():
    address, tls = sys.argv[1], sys.argv[2:]
    switch, servicer = Switched(), health.HealthServicer()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), interceptors=[switch])
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    if tls:
        certificate, key = (open(path, "rb").read() for path in tls)
        port = server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
    else:
        port = server.add_insecure_port(address)
    server.start()
    print(port, flush=True)
    for line in sys.stdin:
        if line.strip() == "off":
            switch.off = True
        else:
            service, status = line.split()
            status = health_pb2.HealthCheckResponse.ServingStatus.Value(status)
            servicer.set("" if service == "-" else service, status)
        print("done", flush=True)


main()
