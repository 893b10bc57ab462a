"""How Caddy and Envoy are started, who take part only if they are there."""

import json

import common

CADDY = """{{
    admin off
    auto_https off
}}
http://127.0.0.1:{port} {{
    bind 127.0.0.1
    reverse_proxy {origins} {{
        {options}
        transport http {{
            dial_timeout 2s
            response_header_timeout 30s
            keepalive_idle_conns_per_host 128
        }}
    }}
}}
"""


def caddy(stage, name, port, origins, options=()):
    backends = " ".join(f"127.0.0.1:{origin}" for origin in origins)
    config = CADDY.format(port=port, origins=backends, options="\n        ".join(options))
    command = [common.find_program("caddy"), "run", "--adapter", "caddyfile", "--config",
               stage.write(f"{name}.caddyfile", config)]
    # One thread serves, as with the others; and its files stay in the stage's folder.
    return ["env", "GOMAXPROCS=1", f"HOME={stage.folder}", f"XDG_DATA_HOME={stage.folder}", *command]


def envoy(stage, name, port, origins, policy="LEAST_REQUEST", **cluster):
    endpoints = [{"endpoint": {"address": address(origin)}} for origin in origins]
    route = {"match": {"prefix": "/"}, "route": {"cluster": "web", "timeout": "30s", "retry_policy": {
        "retry_on": "connect-failure,refused-stream,reset,gateway-error", "num_retries": 2,
        # Without this a retry may go where the first attempt went, which has the least requests.
        "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}}],
        "host_selection_retry_max_attempts": 5}}}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "route_config": {"virtual_hosts": [{"name": "web", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    }
    config = {"static_resources": {
        "listeners": [{"address": address(port), "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
        "clusters": [{
            "name": "web", "type": "STATIC", "lb_policy": policy, "connect_timeout": "2s", **cluster,
            "load_assignment": {"cluster_name": "web", "endpoints": [{"lb_endpoints": endpoints}]},
        }],
    }}
    path = stage.write(f"{name}.json", json.dumps(config))
    return [common.find_program("envoy"), "-c", path, "--concurrency", "1", "--use-dynamic-base-id", "-l", "warning"]


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


common.CONTESTANTS.update(caddy=caddy, envoy=envoy)
