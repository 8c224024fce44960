# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration that is made of the role's variables. What 2.8.2 does with it is seen in tests/contract/test_registry_config.py; 3 cannot be had
here, so that this is all that is known of its configurations: their shape.
"""

from __future__ import annotations

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidInput
from ansible_collections.stowage.oci.plugins.module_utils._server.config import configuration
from ansible_collections.stowage.oci.plugins.module_utils._server.keys_check import Check

PATHS = {name: "/etc/stowage-registry/%s" % name for name in ("certificate", "key", "client_authority", "htpasswd", "token_bundle")}
# The defaults of the role, as far as they are read: test_server_filters.py compares them.
VARIABLES = {
    "address": "0.0.0.0", "port": 5000, "storage": "filesystem", "storage_path": "/var/lib/registry", "storage_options": {},
    "storage_redirect": False, "delete": True, "readonly": False, "cache": "inmemory", "tls": "own", "tls_minimum": "tls1.2", "users": {},
    "log_level": "info", "log_format": "text", "log_access": True, "debug_address": "127.0.0.1:5001", "metrics": True,
    "drain_file": "/run/stowage-registry/drain",
    "notifications": [], "config_overrides": {},
}
USERS = {"users": {"ann": "hunter2"}, "auth_realm": "registry.example"}
TOKEN = {"realm": "https://auth.example/token", "service": "fleet", "issuer": "us", "bundle": "/here/tokens.pem"}
REDIS = {"addr": "redis.example:6379", "password": "hunter2"}
S3 = {"storage": "s3", "storage_options": {"region": "us-east-1", "bucket": "images"}}
PROXY = {"proxy_url": "https://up.example", "proxy_username": "ann", "proxy_password": "hunter2"}


def made(version="2.8.2", **variables):
    found = configuration({**VARIABLES, **variables}, version, PATHS)
    Check("what was made", "3" if version.lstrip("v").startswith("3") else "2.8")(found)
    return found


def refusal(version="2.8.2", **variables):
    with pytest.raises(InvalidInput) as caught:
        made(version, **variables)
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


def test_the_defaults():
    assert made() == made("3.0.0") == {
        "version": 0.1,
        "log": {"level": "info", "formatter": "text", "accesslog": {"disabled": False}, "fields": {"service": "registry"}},
        "storage": {
            "filesystem": {"rootdirectory": "/var/lib/registry"}, "delete": {"enabled": True}, "redirect": {"disable": True},
            "cache": {"blobdescriptor": "inmemory"},
            "maintenance": {
                "uploadpurging": {"enabled": True, "age": "168h", "interval": "24h", "dryrun": False}, "readonly": {"enabled": False},
            },
        },
        "http": {
            "addr": "0.0.0.0:5000", "headers": {"X-Content-Type-Options": ["nosniff"]},
            "tls": {"certificate": PATHS["certificate"], "key": PATHS["key"], "minimumtls": "tls1.2"},
            "debug": {"addr": "127.0.0.1:5001", "prometheus": {"enabled": True, "path": "/metrics"}},
        },
        "health": {
            "storagedriver": {"enabled": True, "interval": "10s", "threshold": 3},
            "file": [{"file": "/run/stowage-registry/drain", "interval": "2s"}],
        },
    }


@pytest.mark.parametrize(
    ("variables", "path", "value"),
    [
        ({"log_level": "debug", "log_format": "json"}, "log.formatter", "json"),
        ({"log_access": False}, "log.accesslog.disabled", True),
        ({"address": "::"}, "http.addr", "[::]:5000"),
        ({"address": "192.0.2.7", "port": "443"}, "http.addr", "192.0.2.7:443"),
        ({"url": "https://registry.example"}, "http.host", "https://registry.example"),
        ({"secret": "hunter2"}, "http.secret", "hunter2"),
        ({"tls": "none"}, "http.tls", None),
        ({"tls_minimum": "tls1.3"}, "http.tls.minimumtls", "tls1.3"),
        ({"tls_client_authority": "/here/ca.pem"}, "http.tls.clientcas", [PATHS["client_authority"]]),
        ({"debug_address": ""}, "http.debug", None),
        ({"metrics": False}, "http.debug", {"addr": "127.0.0.1:5001"}),
        ({"drain_file": ""}, "health.file", None),
        ({"storage_path": "/srv/images"}, "storage.filesystem", {"rootdirectory": "/srv/images"}),
        ({"storage_options": {"maxthreads": 50}}, "storage.filesystem", {"rootdirectory": "/var/lib/registry", "maxthreads": 50}),
        ({"storage": "inmemory"}, "storage.inmemory", {}),
        (S3, "storage.s3", S3["storage_options"]),
        ({"storage_redirect": True}, "storage.redirect.disable", False),
        ({"delete": False}, "storage.delete.enabled", False),
        ({"readonly": True}, "storage.maintenance.readonly.enabled", True),
        ({"cache": "none"}, "storage.cache", None),
        (USERS, "auth", {"htpasswd": {"realm": "registry.example", "path": PATHS["htpasswd"]}}),
        ({"auth": "htpasswd", **USERS}, "auth.htpasswd.path", PATHS["htpasswd"]),
        ({"auth": "none"}, "auth", None),
        (
            {"auth": "token", "token": TOKEN}, "auth.token",
            {"realm": "https://auth.example/token", "service": "fleet", "issuer": "us", "rootcertbundle": PATHS["token_bundle"]},
        ),
        (PROXY, "proxy", {"remoteurl": "https://up.example", "username": "ann", "password": "hunter2"}),
        # Without it a proxy never removes what it has remembered for long enough.
        ({"delete": False, **PROXY}, "storage.delete.enabled", True),
        ({"notifications": [{"name": "a", "url": "http://a"}]}, "notifications.endpoints", [{"name": "a", "url": "http://a"}]),
        # -e name=value is always a text.
        ({"delete": "false"}, "storage.delete.enabled", False),
        ({"readonly": "yes"}, "storage.maintenance.readonly.enabled", True),
    ],
)
def test_each_variable(variables, path, value):
    for version in ("2.8.2", "3.0.0"):
        found = made(version, **variables)
        for part in path.split("."):
            found = (found or {}).get(part)
        assert found == value


def test_redis_in_the_shape_of_its_version():
    wish = {"cache": "redis", "redis": {**REDIS, "db": 2}}
    assert made(**wish)["redis"] == {"addr": "redis.example:6379", "password": "hunter2", "db": 2}
    assert made("3.0.0", **wish)["redis"] == {"addrs": ["redis.example:6379"], "password": "hunter2", "db": 2}
    assert made(cache="redis", redis={"addr": ":6379"})["redis"] == {"addr": ":6379", "db": 0}
    assert made("3.1.0", redis={**REDIS, "username": "ann", "tls": True})["redis"] == {
        "addrs": ["redis.example:6379"], "username": "ann", "password": "hunter2", "db": 0,
        "tls": {"rootcas": ["/etc/ssl/certs/ca-certificates.crt"]},
    }


def test_tls_of_redis_needs_a_certificate_until_3_1():
    wish = {"redis": {**REDIS, "tls": True}}
    assert refusal("3.0.0", **wish).startswith("registry_redis: tls needs distribution 3.1, or a certificate for redis")
    own = {"certificate": "/c.pem", "key": "/k.pem"}
    assert made("3.0.0", **wish, config_overrides={"redis": {"tls": own}})["redis"]["tls"]["key"] == "/k.pem"
    assert made("3", **wish)["redis"]["tls"]


def test_an_endpoint_of_s3_has_path_style_in_both_versions():
    options = {**S3["storage_options"], "regionendpoint": "http://minio.example:9000"}
    assert made(storage="s3", storage_options=options)["storage"]["s3"] == options  # 2.8 knows no other
    assert made("3.0.0", storage="s3", storage_options=options)["storage"]["s3"] == {**options, "forcepathstyle": True}
    given = {**options, "forcepathstyle": False}
    assert made("3.0.0", storage="s3", storage_options=given)["storage"]["s3"] == given
    assert "forcepathstyle" not in made("3.0.0", **S3)["storage"]["s3"]


def test_drivers_of_one_version():
    swift = {"storage": "swift", "storage_options": dict.fromkeys(("username", "password", "authurl", "container"), "x")}
    azure = {"storage": "azure", "storage_options": dict.fromkeys(("accountname", "accountkey", "container"), "x")}
    gcs = {"storage": "gcs", "storage_options": {"bucket": "x", "credentials": {"type": "service_account"}}}
    assert made(**swift)["storage"]["swift"] == swift["storage_options"]
    assert made("3", **azure)["storage"]["azure"] == azure["storage_options"]
    assert made("3", **gcs)["storage"]["gcs"] == gcs["storage_options"]
    assert refusal("3.0.0", **swift).startswith("registry_storage cannot be swift with distribution 3; the role knows ")
    for wish in (azure, gcs):
        assert refusal(**wish) == (
            "registry_storage cannot be %s with distribution 2.8; the role knows filesystem, inmemory, s3, swift of it" % wish["storage"]
        )


def test_how_long_a_proxy_remembers():
    assert made("3.0.0", **PROXY, proxy_ttl="24h")["proxy"]["ttl"] == "24h"
    assert refusal(**PROXY, proxy_ttl="24h") == "registry_proxy_ttl is only for distribution 3; 2.8 remembers for seven days"
    assert refusal("3", **PROXY, proxy_ttl="7d") == "registry_proxy_ttl: it must be a time with its unit, as in 10s or 168h"


def test_overrides_are_laid_over_the_rest():
    overrides = {
        "http": {"headers": {"Strict-Transport-Security": ["max-age=1"]}, "tls": {"ciphersuites": ["TLS_AES_128_GCM_SHA256"]}},
        "health": {"file": []}, "catalog": {"maxentries": 5}, "log": {"level": "warn"},
    }
    before, after = made(), made(config_overrides=overrides)
    assert after["http"]["headers"] == {"X-Content-Type-Options": ["nosniff"], "Strict-Transport-Security": ["max-age=1"]}
    assert after["http"]["tls"] == {**before["http"]["tls"], "ciphersuites": ["TLS_AES_128_GCM_SHA256"]}
    assert (after["health"]["file"], after["catalog"], after["log"]["level"]) == ([], {"maxentries": 5}, "warn")
    assert after["storage"] == before["storage"] and overrides["health"] == {"file": []}


def test_what_the_role_has_no_variable_for_comes_by_overrides():
    exec_ = {"command": "docker-credential-x", "lifetime": "1h"}
    assert made("3", proxy_url="https://up.example", config_overrides={"proxy": {"exec": exec_}})["proxy"]["exec"] == exec_
    encrypt = {"http": {"tls": {"letsencrypt": {"cachefile": "/c", "email": "a@example.com", "hosts": ["a.example"]}}}}
    assert made(tls="none", config_overrides=encrypt)["http"]["tls"] == encrypt["http"]["tls"]


@pytest.mark.parametrize(
    ("version", "variables", "message"),
    [
        (
            "2.8", {"config_overrides": {"http": {"adress": "x"}}},
            "registry_config_overrides: http.adress is no key of distribution 2.8; did you mean http.addr?",
        ),
        (
            "2.8", {"config_overrides": {"storage": {"inmemory": {}}}},
            "registry_config_overrides: a registry has one storage driver, not filesystem and inmemory; choose it by registry_storage",
        ),
        (
            "2.8", {**USERS, "config_overrides": {"auth": {"silly": {"realm": "x", "service": "x"}}}},
            "registry_config_overrides: a registry has one kind of auth, not htpasswd and silly; choose it by registry_auth",
        ),
        (
            "2.8", {"config_overrides": {"http": {"tls": {"letsencrypt": {"cachefile": "/c"}}}}},
            "registry_config_overrides: http.tls.letsencrypt makes a certificate and there is one; with it registry_tls must be none",
        ),
        ("2.8", {"cache": "redis"}, "registry_cache is redis and registry_redis is empty"),
        ("3", {"config_overrides": {"storage": {"cache": {"blobdescriptor": "redis"}}}}, "registry_cache is redis and registry_redis is empty"),
        ("2.8", {"redis": {**REDIS, "username": "ann"}}, "registry_redis: username is only for distribution 3, and this is 2.8"),
        ("2.8", {"redis": {**REDIS, "tls": True}}, "registry_redis: tls is only for distribution 3, and this is 2.8"),
        ("2.8", {"redis": {"addr": "redis.example"}}, "registry_redis: addr must be an address and a port, as in 127.0.0.1:5001"),
        ("2.8", {"redis": {"password": "hunter2"}}, "registry_redis: addr is empty"),
        ("2.8", {"redis": {**REDIS, "password": 12345}}, "registry_redis: password must be a text; put a number in quotes"),
        ("2.8", {"redis": {**REDIS, "db": "first"}}, "registry_redis: db must be a whole number"),
        ("2.8", {"redis": "redis.example:6379"}, "registry_redis must be a dict"),
        ("2.8", {"storage": "s3"}, "registry_storage_options lacks region and bucket, which s3 needs"),
        (
            "2.8", {"storage": "s3", "storage_options": {"secretkey": "hunter2", "buket": "x"}},
            "registry_storage_options: buket is no key of distribution 2.8; did you mean bucket?",
        ),
        ("2.8", {"storage": "swift"}, "registry_storage_options lacks username and password and authurl and container, which swift needs"),
        ("3", {"storage": "gcs"}, "registry_storage_options lacks bucket, which gcs needs"),
        ("3", {"storage": "azure"}, "registry_storage_options lacks accountname and container, which azure needs"),
        ("2.8", {"storage": "inmemory", "storage_options": {"size": 1}}, "registry_storage_options: size is no key of distribution 2.8"),
        (
            "2.8", {"storage_options": {"rootdirectory": "/x"}},
            "registry_storage_options has a rootdirectory; the folder of filesystem is registry_storage_path",
        ),
        ("2.8", {"storage_path": "images"}, "registry_storage_path must be an absolute path"),
        ("2.8", {"auth": "htpasswd"}, "registry_auth is htpasswd and registry_users is empty, so that nobody could log in"),
        ("2.8", {"auth": "token"}, "registry_auth is token and registry_token is empty, so that nobody could log in"),
        ("2.8", {"token": TOKEN}, "registry_token counts only where registry_auth is token, and that is none"),
        ("2.8", {**USERS, "auth": "none"}, "registry_users counts only where registry_auth is htpasswd, and that is none"),
        (
            "2.8", {**USERS, "auth": "token", "token": TOKEN},
            "registry_users counts only where registry_auth is htpasswd, and that is token",
        ),
        ("2.8", {"auth": "token", "token": {**TOKEN, "realm": "x"}}, "registry_token: realm must be a URL, as in https://registry.example.com"),
        ("2.8", {"auth": "token", "token": {**TOKEN, "issuer": ""}}, "registry_token: issuer is empty"),
        ("2.8", {**USERS, "auth_realm": ""}, "registry_auth_realm is empty"),
        ("2.8", {"proxy_username": "ann", "proxy_password": "hunter2"}, "registry_proxy_username needs registry_proxy_url"),
        ("3", {"proxy_ttl": "1h"}, "registry_proxy_ttl needs registry_proxy_url"),
        ("2.8", {**PROXY, "proxy_password": ""}, "registry_proxy_username and registry_proxy_password need each other"),
        ("2.8", {**PROXY, "proxy_password": 7}, "registry_proxy_password must be a text; put a number in quotes"),
        ("2.8", {"proxy_url": "up.example"}, "registry_proxy_url must be a URL, as in https://registry.example.com"),
        ("2.8", {"url": "registry.example:5000"}, "registry_url must be a URL, as in https://registry.example.com"),
        ("2.8", {"notifications": [{"name": "a", "url": "x"}, {"url": "x"}]}, "registry_notifications: endpoints[1] has no name"),
        ("2.8", {"notifications": [{"name": "a"}]}, "registry_notifications: endpoints[0] has no url"),
        (
            "2.8", {"notifications": [{"name": "a", "url": "x", "headers": {"Authorization": "hunter2"}}]},
            "registry_notifications: endpoints[0].headers must be lists of texts by the names of headers",
        ),
        (
            "2.8", {"tls": "none", "tls_client_authority": "/ca.pem"},
            "registry_tls_client_authority is of no use while registry_tls is none, as no client shows a certificate then",
        ),
        ("2.8", {"port": 0}, "registry_port must be between 1 and 65535"),
        ("2.8", {"port": 65536}, "registry_port must be between 1 and 65535"),
        ("2.8", {"port": "https"}, "registry_port must be a whole number"),
        ("2.8", {"address": ""}, "registry_address is empty"),
        ("2.8", {"debug_address": "5001"}, "registry_debug_address must be an address and a port, as in 127.0.0.1:5001"),
        ("2.8", {"delete": "maybe"}, "registry_delete must be true or false"),
        ("2.8", {"secret": 12345}, "registry_secret must be a text; put a number in quotes"),
        ("2.8", {"drain_file": "drain"}, "registry_drain_file must be an absolute path"),
        ("2.8", {"storage_options": None}, "registry_storage_options is not defined"),
        ("2.7.1", {}, "registry_version: '2.7.1' is no version of distribution that the role knows; it knows 2.8 and 3"),
        ("4", {}, "registry_version: '4' is no version of distribution that the role knows; it knows 2.8 and 3"),
        ("", {}, "registry_version: '' is no version of distribution that the role knows; it knows 2.8 and 3"),
        ("latest", {}, "registry_version: 'latest' is no version of distribution that the role knows; it knows 2.8 and 3"),
    ],
)
def test_says_what_cannot_be(version, variables, message):
    assert refusal(version, **variables) == message


@pytest.mark.parametrize("version", ["2.8", "2.8.2", "v2.8.3", "2.8.2+ds1", "2.8.2+ds1-1"])
def test_versions_that_are_2_8(version):
    assert "addr" in made(version, redis=REDIS)["redis"]


@pytest.mark.parametrize("version", ["3", "3.0", "3.0.0", "v3.1.1", "3.0.0-rc.2"])
def test_versions_that_are_3(version):
    assert "addrs" in made(version, redis=REDIS)["redis"]


def test_names_a_file_that_the_role_has_no_place_for():
    with pytest.raises(InvalidInput, match="^the filter's paths: key is empty$"):
        configuration(VARIABLES, "2.8", {"certificate": "/c.pem"})
