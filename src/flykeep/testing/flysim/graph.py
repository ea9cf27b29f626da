"""The GraphQL side: the few operations for which Fly has no REST call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    get_variable_values,
    graphql_sync,
    parse,
    validate,
)

from flykeep.testing.flysim import volumes
from flykeep.testing.flysim.journal import REDACTED
from flykeep.testing.flysim.judge import shipped_graphql
from flykeep.testing.flysim.model import App, JsonObject, Refusal, TokenGrant, Volume
from flykeep.testing.flysim.render import instant
from flykeep.testing.flysim.ssh import CertificateAuthority
from flykeep.testing.flysim.world import World

_REGIONS = (("ams", "Amsterdam, Netherlands"), ("fra", "Frankfurt, Germany"), ("iad", "Ashburn, Virginia (US)"))


@dataclass(frozen=True, slots=True)
class GraphRequest:
    """One GraphQL request as it came."""

    query: str
    variables: JsonObject
    operation_name: str | None = None

    @property
    def field_name(self) -> str:
        """The first root field, which names the action; `invalid` where the text does not parse."""
        try:
            document = parse(self.query)
        except GraphQLError:
            return "invalid"
        for definition in document.definitions:
            if isinstance(definition, OperationDefinitionNode):
                fields = [s for s in definition.selection_set.selections if isinstance(s, FieldNode)]
                return fields[0].name.value if fields else "invalid"
        return "invalid"

    @property
    def app(self) -> str | None:
        """The app the variables name, for faults that strike one app only."""
        given = self.variables.get("input")
        names = given.get("appNames") if isinstance(given, dict) else None
        name = names[0] if isinstance(names, list) and names else self.variables.get("name")
        return name if isinstance(name, str) else None


def graphql_objections(schema: GraphQLSchema, request: GraphRequest) -> list[str]:
    """What a schema does not know in a request: fields, arguments, types, variables and fields inside them."""
    try:
        document = parse(request.query)
    except GraphQLError as error:
        return [error.message]
    wrong = [error.message for error in validate(schema, document)]
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    declared: set[str] = set()
    for operation in operations:
        definitions = operation.variable_definitions or ()
        declared |= {definition.variable.name.value for definition in definitions}
        coerced = get_variable_values(schema, definitions, request.variables)
        wrong += [error.message for error in coerced] if isinstance(coerced, list) else []
    return wrong + [f"unknown variable {name!r}" for name in sorted(set(request.variables) - declared)]


class GraphApi:
    """Executes GraphQL against a world."""

    def __init__(self, world: World, authority: CertificateAuthority) -> None:
        self._world = world
        self._authority = authority
        self._schema: GraphQLSchema = build_schema(shipped_graphql())
        for name in ("app", "organization", "organizations", "viewer", "volume", "nearestRegion", "platform"):
            self._resolve("Queries", name)
        for name in ("issueCertificate", "createVolumeSnapshot", "createLimitedAccessToken"):
            self._resolve("Mutations", name)
        principal: Any = self._schema.get_type("Principal")
        principal.resolve_type = _macaroon

    def _resolve(self, root: str, name: str) -> None:
        kind: Any = self._schema.get_type(root)
        handler = getattr(self, f"_{root.lower()}_{name}")

        def resolver(_source: Any, info: GraphQLResolveInfo[TokenGrant], **arguments: Any) -> Any:
            return handler(info.context, **arguments)

        kind.fields[name].resolve = resolver

    def objections(self, request: GraphRequest) -> list[str]:
        """What the reduced schema does not know in a request."""
        return graphql_objections(self._schema, request)

    def execute(self, request: GraphRequest, grant: TokenGrant) -> JsonObject:
        """The answer; errors stand in `errors`, with HTTP 200, as Fly's do."""
        result = graphql_sync(
            self._schema,
            request.query,
            variable_values=request.variables,
            operation_name=request.operation_name,
            context_value=grant,
        )
        answer: JsonObject = {"data": result.data}
        if result.errors:
            answer["errors"] = [_error(error) for error in result.errors]
        return answer

    # -- roots

    def _queries_app(self, grant: TokenGrant, name: str | None = None, id: str | None = None) -> JsonObject:  # noqa: A002
        return self._app(self._world.app(name or id or "", grant))

    def _queries_organization(self, grant: TokenGrant, **wanted: str) -> JsonObject:
        if grant.org not in wanted.values() and _node_id(grant.org) not in wanted.values():
            raise Refusal(404, "Could not find Organization", code="NOT_FOUND")
        return self._organization(grant.org)

    def _queries_organizations(self, grant: TokenGrant, **_page: Any) -> JsonObject:
        return {"nodes": [self._organization(grant.org)]}

    @staticmethod
    def _queries_viewer(_grant: TokenGrant) -> JsonObject:
        return {"email": "flysim@tokens.fly.io", "name": "flysim"}

    def _queries_volume(self, grant: TokenGrant, id: str) -> JsonObject:  # noqa: A002
        volume = self._world.volumes.get(id)
        if volume is None:
            raise Refusal(404, "Could not find Volume", code="NOT_FOUND")
        self._world.app(volume.app, grant)
        return self._volume(volume)

    @staticmethod
    def _queries_nearestRegion(_grant: TokenGrant, **_wanted: Any) -> JsonObject:  # noqa: N802 - Fly's name
        return _region(*_REGIONS[1])

    @staticmethod
    def _queries_platform(_grant: TokenGrant) -> JsonObject:
        return {"regions": [_region(*region) for region in _REGIONS]}

    def _mutations_issueCertificate(self, grant: TokenGrant, input: JsonObject) -> JsonObject:  # noqa: A002, N802
        if input["organizationId"] != _node_id(grant.org):
            raise Refusal(404, "Could not find Organization", code="NOT_FOUND")
        apps = input.get("appNames") or []
        for name in apps:
            self._world.app(name, grant)
        certificate = self._authority.issue(
            public_key=input.get("publicKey") or "",
            principals=input.get("principals") or ["root"],
            apps=apps or grant.apps,
            valid_hours=input.get("validHours", 24),
        )
        return {"certificate": certificate}

    def _mutations_createVolumeSnapshot(self, grant: TokenGrant, input: JsonObject) -> JsonObject:  # noqa: A002, N802
        volume = self._world.volumes.get(input["volumeId"])
        if volume is None:
            raise Refusal(404, "Could not find Volume", code="NOT_FOUND")
        self._world.app(volume.app, grant)
        volumes.take_snapshot(self._world, volume, None)
        return {"volume": self._volume(volume)}

    def _mutations_createLimitedAccessToken(self, grant: TokenGrant, input: JsonObject) -> JsonObject:  # noqa: A002, N802
        params = input.get("profileParams") or {}
        apps = frozenset({params["app_id"]}) if params.get("app_id") else grant.apps
        minted = self._world.add_grant(apps=apps)
        return {
            "limitedAccessToken": {
                "id": self._world.new_id("", 16),
                "name": input["name"],
                "profile": input["profile"],
                "tokenHeader": "FlyV1 " + ",".join(minted.macaroons),
                "expiresAt": "2046-01-01T00:00:00Z",
            }
        }

    # -- documents

    def _organization(self, slug: str) -> JsonObject:
        certificates = [{"id": str(n), "cert": line, "root": False} for n, line in enumerate(self._authority.issued)]
        return {
            "id": _node_id(slug),
            "name": slug,
            "slug": slug,
            "rawSlug": slug,
            "type": "PERSONAL" if slug == "personal" else "SHARED",
            "sshCertificate": self._authority.organization_key,
            "loggedCertificates": {"nodes": certificates},
        }

    def _app(self, app: App) -> JsonObject:
        secrets = [
            {"id": s.name, "name": s.name, "digest": s.digest, "createdAt": instant(s.created_at)}
            for s in app.secrets.values()
        ]
        return {
            "id": app.name,
            "internalNumericId": app.number,
            "name": app.name,
            "status": app.status,
            "network": app.network,
            "hostname": f"{app.name}.fly.dev",
            "deployed": app.status == "deployed",
            "organization": self._organization(app.org),
            "secrets": secrets,
            "volumes": {"nodes": [self._volume(volume) for volume in self._world.volumes_of(app.name)]},
        }

    def _volume(self, volume: Volume) -> JsonObject:
        rows = [row for row in volumes.list_snapshots(self._world, volume) if row.get("digest")]
        nodes = [
            {
                "id": row["id"],
                "createdAt": row["created_at"],
                "digest": row["digest"],
                "size": str(row["size"]),
                "retentionDays": row["retention_days"],
            }
            for row in rows
        ]
        return {
            "id": volume.id,
            "internalId": volume.id.removeprefix("vol_"),
            "name": volume.name,
            "region": volume.region,
            "sizeGb": volume.size_gb,
            "state": volume.state,
            "status": volume.state,
            "encrypted": volume.is_encrypted,
            "usedBytes": str(self._world.used_bytes(volume)),
            "createdAt": instant(volume.created_at),
            "snapshotRetentionDays": volume.snapshot_retention,
            "snapshots": {"nodes": nodes},
        }


def redacted_variables(request: GraphRequest) -> JsonObject:
    """Variables as they may be written down."""
    return {key: REDACTED if key.lower() in {"token", "secret"} else value for key, value in request.variables.items()}


def _macaroon(*_resolved: object) -> str:
    return "Macaroon"


def _node_id(slug: str) -> str:
    return f"org_{slug}_node"


def _region(code: str, name: str) -> JsonObject:
    return {"code": code, "name": name, "gatewayAvailable": True}


def _error(error: GraphQLError) -> JsonObject:
    code = "GRAPHQL_VALIDATION_FAILED"
    if isinstance(error.original_error, Refusal):
        refusal = error.original_error
        code = refusal.code or {403: "UNAUTHORIZED", 404: "NOT_FOUND"}.get(refusal.status, "UNPROCESSABLE")
    return {"message": error.message, "path": error.path, "extensions": {"code": code}}
