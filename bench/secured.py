"""How the contestants are started that speak HTTP/1 and HTTP/2, with and without TLS, each on a port of its own."""

import os
import resource
import socket
import ssl
import subprocess

import common


def most_clients():
    """How many clients all of them serve at once: two files for each, and some for themselves."""
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return open_files // 2 - 50


def certificate(stage):
    """A certificate that nobody else trusts; HAProxy wants the key in the same file."""
    chain, key, both = (os.path.join(stage.folder, name) for name in ("tls.pem", "tls.key", "tls.both.pem"))
    if not os.path.exists(both):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                   "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", chain]
        if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
            raise common.Failure(f"failed: {' '.join(command)}")
        with open(chain) as first, open(key) as second:
            stage.write("tls.both.pem", first.read() + second.read())
    return chain, key, both


def start(stage, name, ports, origins, more=""):
    """Starts a contestant that listens on the ports: of `http`, `h2c` and `tls`, those that there are. `more` is its own."""
    command = {"evenkeel": evenkeel, "nginx": nginx, "haproxy": haproxy}[name](stage, name, ports, origins, more)
    process = stage.start(name, command)
    for way, port in ports.items():
        common.wait_for(process, port, lambda _, way=way, port=port: answers(way, port))
    return process


def answers(way, port):
    """Asked as it is meant to be, without a client that speaks HTTP/2: its first frame is enough."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        if way == "tls":
            context = ssl._create_unverified_context()
            context.set_alpn_protocols(["h2"])
            with context.wrap_socket(connection, server_hostname="localhost") as secured:
                return greets(secured)
        if way == "h2c":
            return greets(connection)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        if not connection.makefile("rb").readline().startswith(b"HTTP/1.1 200"):
            raise common.Failure("it does not answer 200")


def greets(connection):
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    header = connection.makefile("rb").read(9)
    if len(header) != 9 or header[3] != 4:
        raise common.Failure("it does not begin with SETTINGS")


def evenkeel(stage, name, ports, origins, more):
    chain, key, _ = certificate(stage)
    options = {
        "http": "",
        "h2c": ", h2c: true",
        "tls": f", tls: {{ certificates: [{{ certificate: {chain}, key: {key} }}] }}",
    }
    listeners = "".join(f"  - {{ address: 127.0.0.1:{port}{options[way]} }}\n" for way, port in ports.items())
    (admin,) = common.free_ports(1)
    config = f"""version: 1
threads: 1
listeners:
{listeners}pools:
  web:
    backends: [{', '.join(f'127.0.0.1:{origin}' for origin in origins)}]
routes: [{{ pool: web }}]
admin: {{ address: 127.0.0.1:{admin} }}
{more}"""
    return [os.path.join(stage.binaries, "evenkeel"), "-c", stage.write(f"{name}.yaml", config)]


def nginx(stage, name, ports, origins, more):
    chain, key, _ = certificate(stage)
    options = {"http": "", "h2c": " http2", "tls": " ssl http2"}
    listens = "".join(f"        listen 127.0.0.1:{port}{options[way]} backlog=4096;\n" for way, port in ports.items())
    servers = "".join(f" server 127.0.0.1:{origin};" for origin in origins)
    config = f"""
    upstream web {{
       {servers}
        keepalive 128;
    }}
    server {{
{listens}        ssl_certificate {chain};
        ssl_certificate_key {key};
        {more}
        location / {{
            proxy_pass http://web;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}"""
    return common.nginx_command(stage, name, config, 2 * most_clients())


def haproxy(stage, name, ports, origins, more):
    _, _, both = certificate(stage)
    options = {"http": "", "h2c": " proto h2", "tls": f" ssl crt {both} alpn h2,http/1.1"}
    binds = "".join(f"    bind 127.0.0.1:{port}{options[way]} backlog 4096\n" for way, port in ports.items())
    servers = "".join(f"    server s{origin} 127.0.0.1:{origin}\n" for origin in origins)
    config = f"""global
    nbthread 1
    maxconn {most_clients()}
defaults
    mode http
    timeout connect 5s
    timeout server 60s
    timeout client 75s
    timeout http-request 10s
    timeout http-keep-alive 75s
    http-reuse always
    {more}
listen web
{binds}    balance roundrobin
{servers}"""
    return [common.find_program("haproxy"), "-db", "-f", stage.write(f"{name}.cfg", config)]
