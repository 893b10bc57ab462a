"""One call of a real gRPC client to grpc_echo.py, for tests/it/grpc.rs.

    grpc_client.py ADDRESS METHOD ARGUMENT

Prints an object: the status as `code`, its message as `details`, the messages as `said`, and the trailers. ARGUMENT is the
message; for the streams how many there are; for Slow the deadline in seconds; Quiet is a Bidi of two messages with a pause of that
many seconds after each.
"""

import json
import queue
import sys
import time

import grpc


def bidi(method, count, pause=0):
    """Sends each message only when the one before was answered."""
    sending, said = queue.Queue(), []
    call = method(iter(sending.get, None), timeout=10)
    for number in range(count):
        sending.put(f"message {number}".encode())
        said.append(next(call).decode())
        time.sleep(pause)
    sending.put(None)
    said += [one.decode() for one in call]
    return call, said


def run(channel, name, argument):
    path = f"/test.Echo/{name}"
    if name == "Bidi":
        return bidi(channel.stream_stream(path), int(argument))
    if name == "Quiet":
        return bidi(channel.stream_stream("/test.Echo/Bidi"), 2, float(argument))
    if name == "Client":
        said, call = channel.stream_unary(path).with_call((b"x" * 1000 for _ in range(int(argument))), timeout=10)
        return call, [said.decode()]
    if name in ("Server", "Late"):
        call, said = channel.unary_stream(path)(argument.encode(), timeout=10), []
        try:
            for one in call:
                said.append(one.decode())
        except grpc.RpcError:
            pass
        return call, said
    timeout = float(argument) if name == "Slow" else 10
    said, call = channel.unary_unary(path).with_call(argument.encode(), timeout=timeout)
    return call, [said.decode()]


def main():
    address, name, argument = sys.argv[1:]
    with grpc.insecure_channel(address) as channel:
        try:
            call, said = run(channel, name, argument)
        except grpc.RpcError as error:
            call, said = error, []
        trailers = {item.key: item.value for item in call.trailing_metadata() or () if isinstance(item.value, str)}
        print(json.dumps({"code": call.code().value[0], "details": call.details(), "said": said, "trailers": trailers}))


main()
