"""`callproof new-gateway`: what it finds in a folder, what it asks, and what it writes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema_rs
import pytest
from click.testing import CliRunner, Result

import harness.cli_gateway
from harness.cli import main
from harness.profile import load_profile
from harness.profiles.guess import guess, names
from harness.profiles.schema import schema
from harness.profiles.vocabulary import CLAIMS, VOCABULARY

EXPRESS = """
import express from 'express';
import WebSocket from 'ws';
import twilio from 'twilio';
const { OPENAI_API_KEY, TWILIO_AUTH_TOKEN } = process.env;
const app = express();
const PORT = process.env.PORT || 5050;
app.get('/', (req, res) => res.send('up'));
app.post('/incoming-call', twilio.webhook(), (req, res) => res.type('text/xml').send('<Response/>'));
app.post('/call-status', (req, res) => res.sendStatus(204));
app.post('/make-call', (req, res) => {});
const openai = new WebSocket('wss://api.openai.com/v1/realtime?model=' + process.env.OPENAI_MODEL);
openai.send(JSON.stringify({ type: 'session.update', session: { type: 'realtime' } }));
openai.send(JSON.stringify({ type: 'response.create' }));
stream.send(JSON.stringify({ event: 'clear', streamSid }));
app.listen(PORT);
"""
PACKAGE = {"name": "x", "scripts": {"start": "node index.mjs"}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An Express gateway in the working directory."""
    (tmp_path / "index.mjs").write_text(EXPRESS)
    (tmp_path / "package.json").write_text(json.dumps(PACKAGE))
    (tmp_path / ".env.example").write_text("# keys\nOPENAI_API_KEY=sk-secret\nexport DOMAIN=\nWEATHER_KEY=x\n")
    below = tmp_path / "node_modules" / "thing"
    below.mkdir(parents=True)
    (below / "index.js").write_text("app.post('/voice/incoming/twiml'); process.env.PORT_OF_ANOTHER")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new(*arguments: str, said: str | None = None) -> Result:
    return CliRunner().invoke(main, ["new-gateway", *arguments], input=said)


def test_a_project_is_attached_without_a_question(project: Path) -> None:
    done = new("mine")
    assert done.exit_code == 0, done.output
    profile = load_profile(project / "callproof" / "mine")
    assert profile.gateway.command == ["node", "index.mjs"]
    assert profile.directory == project.resolve()
    assert (profile.webhooks.voice, profile.webhooks.status) == ("/incoming-call", "/call-status")
    assert (profile.operations["call"].request, profile.operations["call"].json) == ("POST /make-call", {"to": "{to}"})
    launch = profile.launch({name: f"<{name}>" for name in VOCABULARY})
    assert launch.environment == {
        "PORT": "<listen.port>",
        "DOMAIN": "<public_host>",
        "OPENAI_API_KEY": "<openai.api_key>",
        "OPENAI_MODEL": "<openai.model>",
        "TWILIO_AUTH_TOKEN": "<twilio.auth_token>",
    }
    assert profile.claims.features == [
        "phone.inbound", "phone.greeting", "phone.barge_in", "phone.signature", "openai.ga", "phone.outbound",
    ]  # fmt: skip
    assert profile.intercept == "namespace"
    assert "Next: callproof check-gateway callproof/mine" in done.output
    assert "openai.api_key is read from OPENAI_API_KEY (.env.example)" in done.output


def test_what_is_written_follows_the_schema_that_lies_beside_it(project: Path) -> None:
    new("mine")
    folder = project / "callproof" / "mine"
    text = (folder / "profile.toml").read_text()
    assert text.startswith("#:schema profile.schema.json\n")
    assert json.loads((folder / "profile.schema.json").read_text()) == schema()
    assert [e.message for e in jsonschema_rs.validator_for(schema()).iter_errors(tomllib.loads(text))] == []


def test_the_comments_name_what_else_there_is(project: Path) -> None:
    new("mine")
    text = (project / "callproof" / "mine" / "profile.toml").read_text()
    assert "#   WEATHER_KEY\n" in text
    assert "sk-secret" not in text
    for claim, what in CLAIMS.items():
        assert f'"{claim}"' in text or f"#   {claim:<24}{what}\n" in text
    assert '# openai.base_url = "$OPENAI_BASE_URL"' in text


def test_options_win_over_what_was_found(project: Path) -> None:
    arguments = [
        "mine",
        "--dir",
        "elsewhere",
        "--command",
        "bun run 'my app.ts'",
        "--voice",
        "/v",
        "--call",
        "PUT /dial",
    ]
    arguments += [
        "--port-arg",
        "--listen",
        "--openai-key-env",
        "KEY",
        "--openai-url-env",
        "URL",
        "--claim",
        "openai.beta",
    ]
    assert new(*arguments, "--public-url-env", "U", "--twilio-sid-env", "S", "--twilio-token-env", "T").exit_code == 0
    profile = load_profile(project / "elsewhere")
    assert profile.gateway.command == ["bun", "run", "my app.ts"]
    launch = profile.launch({name: name for name in VOCABULARY})
    assert launch.arguments == ["--listen", "listen.port"]
    told = {"KEY", "URL", "U", "S", "T", "OPENAI_MODEL", "DOMAIN"}
    assert set(launch.environment) == told
    assert profile.claims.features == ["openai.beta", "phone.outbound"]
    assert (profile.webhooks.voice, profile.operations["call"].request) == ("/v", "PUT /dial")


def test_nothing_is_overwritten(project: Path) -> None:
    new("mine")
    file = project / "callproof" / "mine" / "profile.toml"
    file.write_text("mine")
    done = new("mine")
    assert done.exit_code == 2
    assert f"callproof: {file} exists; give another --dir, or edit it" in done.output
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["mine"], 'say how it is started: --command "node server.js", or --python module:name'),
        (["mine", "--command", "'x"], "cannot be read as a command line: No closing quotation"),
        (["../mine", "--command", "x"], "a gateway's name is made of letters, digits, dots and dashes, not '../mine'"),
        (["mine", "--command", "x", "--voice", "v"], "--voice is a path that begins with \"/\", not 'v'"),
        (["mine", "--command", "x", "--call", "/calls"], '--call is a method and a path, such as "POST /calls"'),
        (["mine", "--command", "x", "--claim", "phone.inbund"], "no feature is called 'phone.inbund'; did you mean"),
        (
            ["mine", "--command", "x", "--port-arg", "port"],
            "listen.port: write a variable such as PORT, or an argument",
        ),
    ],
)
def test_what_makes_no_profile_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = new(*arguments)
    assert done.exit_code == 2
    assert told in done.output
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_gets_a_profile_beside_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert new("mine", "--command", "./serve", "--port-env", "PORT").exit_code == 0
    profile = load_profile(tmp_path / "mine")
    assert (profile.gateway.cwd, profile.webhooks.voice, profile.operations) == ("..", "/twilio/voice", {})


def test_somebody_at_a_terminal_is_asked(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.cli_gateway, "in_terminal", lambda: True)
    # The command, the webhook, the call: as found, another one, as found; then the public URL and OpenAI's.
    done = new("mine", said="\n/hello\n\nMY_URL\n--openai\n")
    assert done.exit_code == 0, done.output
    profile = load_profile(project / "callproof" / "mine")
    assert (profile.gateway.command, profile.webhooks.voice) == (["node", "index.mjs"], "/hello")
    launch = profile.launch({name: name for name in VOCABULARY})
    assert launch.environment["MY_URL"] == "public_url"
    assert launch.arguments == ["--openai", "openai.base_url"]
    assert "How is it started? [node index.mjs]" in done.output


def test_yes_asks_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.cli_gateway, "in_terminal", lambda: True)
    assert new("mine", "--yes").exit_code == 0


# -- guesses


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "command"),
    [
        (
            {"package.json": '{"scripts": {"start": "node --env-file=.env src/server.js"}}'},
            "node --env-file=.env src/server.js",
        ),
        ({"package.json": '{"scripts": {"start": "tsx src/index.ts"}}'}, "npx tsx src/index.ts"),
        ({"package.json": '{"scripts": {"start": "npm run build && node dist"}}'}, "npm start --silent"),
        ({"package.json": '{"main": "app.js"}'}, "node app.js"),
        ({"package.json": "{"}, ""),
        ({"main.py": "app = FastAPI()\n"}, "python3 -m uvicorn main:app"),
        ({"main.py": "api: FastAPI = FastAPI()\n"}, "python3 -m uvicorn main:api"),
        ({"server.py": "app = Flask(__name__)\n"}, "python3 -m flask --app server run"),
        ({"bot.py": "if __name__ == '__main__':\n    run()\n", "other.py": "x"}, "python3 bot.py"),
        ({".venv/bin/python": "", "app.py": "if __name__ == '__main__':\n    run()\n"}, ".venv/bin/python app.py"),
        ({"Procfile": "web: gunicorn app:app --bind :$PORT\n"}, "sh -c 'exec gunicorn app:app --bind :$PORT'"),
        ({"Dockerfile": 'FROM x\nCMD ["node", "a b.js"]\n'}, "node 'a b.js'"),
        ({"go.mod": "module x\n"}, "go run ."),
        ({"Cargo.toml": "[package]\n"}, "cargo run --quiet --release"),
        ({}, ""),
    ],
)
def test_how_it_is_started(tmp_path: Path, files: dict[str, str], command: str) -> None:
    assert guess(write(tmp_path, files)).command == command


@pytest.mark.parametrize(
    ("source", "setting", "variable"),
    [
        ("os.environ['OPENAI_API_KEY']", "openai.api_key", "$OPENAI_API_KEY"),
        ('os.getenv("TWILIO_PHONE_NUMBER")', "twilio.number", "$TWILIO_PHONE_NUMBER"),
        ('os.environ.get("PUBLIC_URL", "")', "public_url", "$PUBLIC_URL"),
        ('os.Getenv("PORT")', "listen.port", "$PORT"),
        ("ENV.fetch('TWILIO_AUTH_TOKEN')", "twilio.auth_token", "$TWILIO_AUTH_TOKEN"),
        ("process.env['AZURE_OPENAI_ENDPOINT']", "azure.endpoint", "$AZURE_OPENAI_ENDPOINT"),
        ('env::var("OPENAI_MODEL")', "openai.model", "$OPENAI_MODEL"),
        (
            "process.env.OPENAI_REALTIME_URL",
            "openai.ws_url",
            '{ env = "OPENAI_REALTIME_URL", value = "{openai.ws_url}/realtime" }',
        ),
    ],
)
def test_what_it_reads(tmp_path: Path, source: str, setting: str, variable: str) -> None:
    assert guess(write(tmp_path, {"src/a.py": source})).settings == {setting: variable}


@pytest.mark.parametrize(
    ("source", "port"),
    [
        ("app.listen(5050)", 5050),
        ("fastify.listen({ port: 5050 })", 5050),
        ("uvicorn.run(app, port=8000)", 8000),
        ("const PORT = 3000", 3000),
        ('http.ListenAndServe(":8080", nil)', 8080),
        ("app.listen(process.env.PORT || 5050)", None),
    ],
)
def test_a_port_that_cannot_be_told(tmp_path: Path, source: str, port: int | None) -> None:
    assert guess(write(tmp_path, {"a.js": source})).port == port


def test_a_fixed_port_is_in_the_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"app.py": "if __name__ == '__main__':\n    app.run(port=5000)\n"})
    monkeypatch.chdir(tmp_path)
    assert new("mine").exit_code == 0
    assert load_profile(tmp_path / "callproof" / "mine").gateway.port == 5000


@pytest.mark.parametrize(
    ("source", "voice"),
    [
        ('@app.post("/twilio/voice")', "/twilio/voice"),
        ('app.MapPost("/api/incomingCall", x)\napp.MapPost("/api/outboundCall", x)', "/api/incomingCall"),
        ("fastify.all('/incoming-call', f)\nfastify.get('/media-stream', g)", "/incoming-call"),
        ('web.post("/voice/status", s), web.post("/answer", v)', "/answer"),
        ("app.post('/twiml/:id', x)\napp.post('/twiml', y)", "/twiml"),
        ("app.post('/upload', x)", "/twilio/voice"),
    ],
)
def test_where_calls_go(tmp_path: Path, source: str, voice: str) -> None:
    assert guess(write(tmp_path, {"a.js": source})).voice == voice


@pytest.mark.parametrize(
    ("source", "claims"),
    [
        ("{'OpenAI-Beta': 'realtime=v1'}", ("phone.inbound", "openai.beta")),
        ("{'OpenAI-Beta': 'realtime=v1'} audio/pcmu", ("phone.inbound", "openai.beta", "openai.ga")),
        ("validateRequest(token)", ("phone.inbound", "phone.signature", "openai.ga")),
        ("if event == 'dtmf'", ("phone.inbound", "phone.dtmf", "openai.ga")),
    ],
)
def test_what_it_may_have(tmp_path: Path, source: str, claims: tuple[str, ...]) -> None:
    assert guess(write(tmp_path, {"a.js": source})).claims == claims


def test_a_folder_that_is_full_of_other_things(tmp_path: Path) -> None:
    write(tmp_path, {f"deep/{n}/x.py": "os.getenv('PORT')" for n in range(5)} | {"a/b/c/d/e.py": "os.getenv('HOST')"})
    write(tmp_path, {"big.js": "process.env.HOST" + " " * 300_000, ".hidden/x.py": "os.getenv('HOST')"})
    assert guess(tmp_path).settings == {"listen.port": "$PORT"}


def test_the_names_are_of_settings_that_there_are() -> None:
    assert set(names()["variables"]) | set(names()["templates"]) <= set(VOCABULARY)
    assert set(names()["claims"]) <= set(CLAIMS)
