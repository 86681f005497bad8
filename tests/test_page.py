"""The page in a real Chromium: recording, files, words as they come, every error, keyboard, phone, dark."""

import difflib
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    FilePayload,
    Locator,
    Page,
    Playwright,
    Request,
    Route,
    expect,
    sync_playwright,
)

from refiner.audio import SAMPLE_RATE_HZ, Pcm
from tests.conftest import require_program
from tests.samples import SAID
from tests.service import Service
from tests.sound import wav
from tests.upstreams import Upstreams, delay, slow_stream

ROOT = Path(__file__).parent.parent
BLUNT = ROOT / "samples" / "blunt.wav"
CODES: list[str] = json.loads((ROOT / "openapi.json").read_text())["components"]["schemas"]["Code"]["enum"]
POLITE = "Could you please send me the report when you have a moment?"
HEARD = "send me the report now"
PATIENCE_MS = 30_000

FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    f"--use-file-for-fake-audio-capture={BLUNT}%noloop",
]

# Notes what an element reads each time it changes, so that a test can tell afterwards what was to be seen on the way.
TAKE_NOTES = """
addEventListener("DOMContentLoaded", () => {
  for (const id of ["transcript", "output"]) {
    const element = document.getElementById(id);
    element.notes = [];
    const note = () => element.notes.push(element.textContent);
    new MutationObserver(note).observe(element, { childList: true, characterData: true, subtree: true });
  }
});
"""

Start = Callable[..., Service]
Visit = Callable[..., Page]


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """Run Playwright's driver."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Start a Chromium whose microphone plays the blunt sample once."""
    require_program("chromium")
    expect.set_options(timeout=PATIENCE_MS)
    running = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
    yield running
    running.close()


class Watch:
    """Notes which requests of a page left its origin and what the browser complained about."""

    def __init__(self, page: Page, origin: str, *, refusals_expected: bool) -> None:
        self.strays: list[str] = []
        self.complaints: list[str] = []
        self._own = {urlsplit(origin).netloc, ""}
        self._refusals_expected = refusals_expected
        page.on("request", self._on_request)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._on_message)

    def _on_request(self, request: Request) -> None:
        if urlsplit(request.url).netloc not in self._own:
            self.strays.append(request.url)

    def _on_message(self, message: ConsoleMessage) -> None:
        # Chromium itself logs every answer that is not a 2xx, and every connection that breaks.
        is_refusal = message.text.startswith("Failed to load resource")
        if message.type == "error" and not (is_refusal and self._refusals_expected):
            self.complaints.append(message.text)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open the page of a service; in the end nothing may have left its origin and nobody complained."""
    contexts: list[BrowserContext] = []
    watches: list[Watch] = []

    def open_page(service: Service, *, refusals_expected: bool = False, notes: bool = False, **options: Any) -> Page:
        options = {"permissions": ["microphone"], "reduced_motion": "reduce"} | options
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        watches.append(Watch(page, service.url, refusals_expected=refusals_expected))
        if notes:
            page.add_init_script(TAKE_NOTES)
        page.goto(service.url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [watch.strays for watch in watches] == [[]] * len(watches)
    assert [watch.complaints for watch in watches] == [[]] * len(watches)


@pytest.fixture(autouse=True)
def _scripted(upstreams: Upstreams) -> None:
    """Tell the fakes what to hear and say unless a test wants something else."""
    upstreams.google.hears = HEARD
    upstreams.chat.says = POLITE


@pytest.fixture
def online(connected: Start) -> Service:
    """Start a service with a Groq key, its upstreams played by the fakes."""
    return connected()


def at(page: Page, test_id: str) -> Locator:
    """Find an element by its data-testid."""
    return page.get_by_test_id(test_id)


def send(page: Page, content: bytes | None = None) -> None:
    """Choose a file, the blunt sample unless told otherwise, and send it."""
    file: FilePayload = {"name": "note.wav", "mimeType": "audio/wav", "buffer": content or BLUNT.read_bytes()}
    at(page, "file").set_input_files(file)
    at(page, "send").click()


def notes_of(locator: Locator) -> list[str]:
    """Return what the element read each time it changed."""
    notes: list[str] = locator.evaluate("element => element.notes")
    return notes


def wait_until_recorded(page: Page, pcm: Pcm) -> None:
    """Wait until the clock says that the microphone has played all of it."""
    seconds = math.ceil(len(pcm) / SAMPLE_RATE_HZ)
    later = "|".join(f"0:{second:02}" for second in range(seconds, 60))
    expect(at(page, "clock")).to_have_text(re.compile(later))


def likeness(heard: str, expected: str) -> float:
    """Tell how much of the words agree, 0 to 1: the recogniser's ear is real, and so is the codec in between."""
    return difflib.SequenceMatcher(None, heard.split(), expected.split()).ratio()


# A recording and a file


def test_a_recording_is_heard_and_said_politely(live_service: Start, visit: Visit, blunt: Pcm) -> None:
    """What the microphone plays is recorded, heard by the embedded recogniser and said politely."""
    page = visit(live_service())
    at(page, "record").click()
    wait_until_recorded(page, blunt)
    at(page, "record").click()
    expect(at(page, "take")).to_contain_text("Your recording, 0:")
    at(page, "send").click()
    expect(at(page, "meta")).to_contain_text("Heard by sphinx")
    assert likeness(at(page, "transcript").inner_text(), SAID[BLUNT.name]) > 0.7
    expect(at(page, "output")).not_to_be_empty()


def test_the_meter_moves_while_recording(online: Service, visit: Visit, blunt: Pcm) -> None:
    """The level meter draws more ink once there is something to hear."""
    page = visit(online, reduced_motion="no-preference")
    ink = """canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
             .reduce((sum, value, index) => sum + (index % 4 === 3 ? value : 0), 0)"""
    at_rest = at(page, "meter").evaluate(ink)
    at(page, "record").click()
    wait_until_recorded(page, blunt)
    assert at(page, "meter").evaluate(ink) > 2 * at_rest


def test_a_recording_plays_back(online: Service, visit: Visit) -> None:
    """The recording can be played to its end, and its length is known."""
    page = visit(online)
    at(page, "record").click()
    expect(at(page, "clock")).to_have_text("0:01")
    at(page, "record").click()
    played_s = at(page, "playback").evaluate(
        "player => new Promise(done => { player.onended = () => done(player.duration); player.play(); })"
    )
    assert 0.5 < played_s < 10


def test_a_chosen_file_is_said_politely(online: Service, visit: Visit) -> None:
    """A file from the file dialog gives transcript, polite text and how they came about."""
    page = visit(online)
    send(page)
    expect(at(page, "output")).to_have_text(POLITE)
    expect(at(page, "transcript")).to_have_text(HEARD)
    expect(at(page, "meta")).to_contain_text("Heard by google · rewritten by openai/gpt-oss-120b")
    expect(at(page, "problem")).to_be_hidden()


def test_a_dropped_file_is_said_politely(online: Service, visit: Visit) -> None:
    """A file dropped anywhere on the page is taken as the recording."""
    page = visit(online)
    dropped = page.evaluate_handle(
        """bytes => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "dropped.wav", { type: "audio/wav" }));
          return transfer;
        }""",
        list(BLUNT.read_bytes()),
    )
    page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    expect(at(page, "take-name")).to_contain_text("dropped.wav")
    at(page, "send").click()
    expect(at(page, "output")).to_have_text(POLITE)


def test_tone_and_language_are_sent(online: Service, visit: Visit) -> None:
    """The chosen tone and a language tag of one's own come back in the answer's meta."""
    page = visit(online)
    page.get_by_role("radio", name="Formal").check(force=True)
    at(page, "language").select_option("other")
    at(page, "language-tag").fill("en-NZ")
    with page.expect_response("**/upload") as response:
        send(page)
    expect(at(page, "output")).to_have_text(POLITE)
    assert '"tone": "formal"' in response.value.text()
    assert '"language": "en-NZ"' in response.value.text()
    assert at(page, "output").get_attribute("lang") == "en-NZ"


# Words as they come


def test_transcript_words_come_before_the_last_segment(
    connected: Start, upstreams: Upstreams, visit: Visit, blunt: Pcm
) -> None:
    """With a slow recogniser the first words are to be read while later segments are still being heard."""
    upstreams.google.always(delay(1.0))
    page = visit(connected(), notes=True)
    send(page, wav(np.tile(blunt, math.ceil(120 * SAMPLE_RATE_HZ / len(blunt)))))
    expect(at(page, "output")).to_have_text(POLITE)
    seen = notes_of(at(page, "transcript"))
    whole = at(page, "transcript").inner_text()
    early = [text for text in seen if text and text != whole]
    assert early
    assert all(whole.startswith(text) for text in early)


def test_output_words_come_before_the_end(connected: Start, upstreams: Upstreams, visit: Visit) -> None:
    """With a slow model the first polite words are to be read before it has finished."""
    upstreams.chat.always(slow_stream(0.2))
    page = visit(connected(), notes=True)
    send(page)
    expect(at(page, "meta")).to_be_visible()
    early = [text for text in notes_of(at(page, "output")) if text and text != POLITE]
    assert len(early) > 3
    assert all(POLITE.startswith(text) for text in early)


def test_cancelling_keeps_the_recording(connected: Start, upstreams: Upstreams, visit: Visit) -> None:
    """Cancel gives the page back at once; the same recording can then be sent again."""
    upstreams.google.always(delay(2.0))
    page = visit(connected(), refusals_expected=True)
    send(page)
    expect(at(page, "status")).to_have_text("Listening …")
    at(page, "cancel").click()
    expect(at(page, "status")).to_have_text("Cancelled. Your recording is kept.")
    expect(at(page, "send")).to_be_focused()
    at(page, "send").click()
    expect(at(page, "output")).to_have_text(POLITE)


# When something is in the way


def test_a_refused_microphone_leaves_the_file(online: Service, visit: Visit) -> None:
    """Without permission the page says so, and a file still works."""
    page = visit(online, permissions=[])
    at(page, "record").click()
    expect(at(page, "problem-title")).to_have_text("The microphone is not allowed")
    expect(at(page, "again")).to_be_enabled()
    with page.expect_file_chooser() as chooser:
        at(page, "another-file").click()
    chooser.value.set_files(BLUNT)
    expect(at(page, "problem")).to_be_hidden()
    at(page, "send").click()
    expect(at(page, "output")).to_have_text(POLITE)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("NotFoundError", "No microphone found"),
        ("NotReadableError", "The microphone cannot be used"),
        ("InvalidStateError", "Recording is not possible here"),
    ],
)
def test_a_microphone_that_cannot_be_had_is_explained(online: Service, visit: Visit, name: str, title: str) -> None:
    """Each way a browser reports a missing microphone gets its own sentence and a way to go on."""
    page = visit(online)
    page.evaluate(
        "name => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', name)); }", name
    )
    at(page, "record").click()
    expect(at(page, "problem-title")).to_have_text(title)
    expect(at(page, "another-file")).to_be_enabled()
    expect(at(page, "record")).to_be_enabled()


def test_a_muted_microphone_is_noticed_while_recording(online: Service, visit: Visit) -> None:
    """After some seconds without a sound the page asks whether the microphone is muted."""
    page = visit(online)
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = "
        "async () => new AudioContext().createMediaStreamDestination().stream; }"
    )
    at(page, "record").click()
    expect(at(page, "hint")).to_have_text(re.compile("Is the microphone muted"))
    expect(at(page, "status")).to_have_text(re.compile("Is the microphone muted"))


def test_a_page_without_https_explains_that_it_cannot_record(online: Service, visit: Visit) -> None:
    """Where the browser hides the microphone, the page offers a file."""
    page = visit(online)
    page.evaluate("() => Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    at(page, "record").click()
    expect(at(page, "problem-title")).to_have_text("Recording is not possible here")
    expect(at(page, "another-file")).to_be_enabled()


def test_a_file_that_is_too_large_can_be_replaced(connected: Start, visit: Visit) -> None:
    """A 413 shows the limit; choosing another file goes on from there."""
    page = visit(connected(MAX_UPLOAD_MB="0.5"), refusals_expected=True)
    send(page, bytes(600_000))
    expect(at(page, "problem-title")).to_have_text("The recording is too large")
    expect(at(page, "problem-message")).to_contain_text("0.5 MB")
    send(page)
    expect(at(page, "output")).to_have_text(POLITE)
    expect(at(page, "problem")).to_be_hidden()


def test_a_rate_limit_counts_down_and_lets_one_retry(connected: Start, visit: Visit) -> None:
    """A 429 holds the retry back for Retry-After seconds, then the kept recording goes through."""
    service = connected(RATE_LIMIT="1 per 4 second")
    page = visit(service, refusals_expected=True)
    send(page)
    expect(at(page, "output")).to_have_text(POLITE)
    at(page, "send").click()
    expect(at(page, "retry")).to_have_text(re.compile(r"Try again in \d s"))
    expect(at(page, "retry")).to_be_disabled()
    expect(at(page, "problem-code")).to_contain_text("rate_limited")
    expect(at(page, "retry")).to_have_text("Try again")
    expect(at(page, "status")).to_have_text("You can try again now.")
    at(page, "retry").click()
    expect(at(page, "output")).to_have_text(POLITE)


def test_an_overloaded_service_is_tried_again(connected: Start, upstreams: Upstreams, visit: Visit) -> None:
    """A 503 while somebody else is served becomes an answer after the wait."""
    upstreams.google.always(delay(3.0))
    service = connected(MAX_IN_FLIGHT="1")
    first, second = visit(service), visit(service, refusals_expected=True)
    send(first)
    expect(at(first, "status")).to_have_text("Listening …")
    send(second)
    expect(at(second, "problem-title")).to_have_text("Busy just now")
    expect(at(first, "output")).to_have_text(POLITE)
    expect(at(second, "retry")).to_have_text("Try again")
    at(second, "retry").click()
    expect(at(second, "output")).to_have_text(POLITE)


def test_a_file_that_is_no_recording_is_explained(live_service: Start, visit: Visit) -> None:
    """Garbage is refused with a sentence, and another file can be chosen."""
    page = visit(live_service(), refusals_expected=True)
    send(page, b"this is no sound at all" * 100)
    expect(at(page, "problem-title")).to_have_text("This does not sound like a recording")
    expect(at(page, "another-file")).to_be_enabled()
    expect(at(page, "take")).to_be_visible()


def test_silence_is_explained(live_service: Start, visit: Visit) -> None:
    """A recording without words says that none were heard, and one may record again."""
    page = visit(live_service(), refusals_expected=True)
    send(page, wav(np.zeros(SAMPLE_RATE_HZ, np.int16)))
    expect(at(page, "problem-title")).to_have_text("No words were heard")
    expect(at(page, "again")).to_be_enabled()


def test_a_missing_key_can_be_entered(connected: Start, visit: Visit) -> None:
    """A 401 asks for the key, a wrong one asks again, the right one goes on; none is stored."""
    page = visit(connected(API_KEYS="sesame"), refusals_expected=True)
    send(page)
    expect(at(page, "key")).to_be_focused()
    for key in ("open", "sesame"):
        expect(at(page, "problem-title")).to_have_text("This service wants an API key")
        with page.expect_response("**/upload"):
            at(page, "key").fill(key)
            at(page, "key").press("Enter")
    expect(at(page, "output")).to_have_text(POLITE)
    assert page.evaluate("() => localStorage.length + sessionStorage.length + document.cookie.length") == 0


def test_a_language_nobody_knows_can_be_corrected(online: Service, visit: Visit) -> None:
    """A malformed tag is refused, and the way on leads to the field."""
    page = visit(online, refusals_expected=True)
    at(page, "language").select_option("other")
    at(page, "language-tag").fill("?!")
    send(page)
    expect(at(page, "problem-title")).to_have_text("That language is not understood")
    at(page, "another-language").click()
    expect(at(page, "language-tag")).to_be_focused()


def test_a_failed_rewrite_keeps_the_transcript(live_service: Start, upstreams: Upstreams, visit: Visit) -> None:
    """When the model cannot be reached, what was said stays readable and can be copied."""
    service = live_service(
        TRANSCRIBER="google",
        GOOGLE_SPEECH_URL=upstreams.google_url,
        REWRITER="llm",
        LLM_BASE_URL="http://127.0.0.1:9/v1",
    )
    page = visit(service, permissions=["clipboard-read", "clipboard-write"])
    send(page)
    expect(at(page, "problem-title")).to_have_text("Heard, but not rewritten")
    expect(at(page, "transcript")).to_have_text(HEARD)
    expect(at(page, "retry")).to_be_enabled()
    at(page, "copy-transcript").click()
    expect(at(page, "status")).to_have_text("Copied.")
    assert page.evaluate("() => navigator.clipboard.readText()") == HEARD


def test_a_lost_network_keeps_the_recording(online: Service, visit: Visit) -> None:
    """Offline the page says so; back online the same recording goes through."""
    page = visit(online, refusals_expected=True)
    page.context.set_offline(True)
    send(page)
    expect(at(page, "problem-title")).to_have_text(re.compile("The (connection was lost|upload broke off)"))
    page.context.set_offline(False)
    at(page, "retry").click()
    expect(at(page, "output")).to_have_text(POLITE)


def test_a_stream_that_breaks_off_keeps_its_words(online: Service, visit: Visit) -> None:
    """A stream without a last event is an error, and the words that came stay."""
    page = visit(online)
    event = {"type": "transcript.text.delta", "delta": "send me"}
    body = f": still working\n\nevent: {event['type']}\ndata: {json.dumps(event)}\n\nevent: transcr"
    page.route("**/upload", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    send(page)
    expect(at(page, "problem-title")).to_have_text("The connection was lost")
    expect(at(page, "transcript")).to_have_text("send me")
    expect(at(page, "retry")).to_be_enabled()


def test_a_plain_answer_will_do(online: Service, visit: Visit) -> None:
    """Where a proxy or an older server answers with JSON instead of a stream, the page shows it all the same."""
    page = visit(online)
    answer = {"input": "go away", "output": "Please leave.", "meta": {"truncated": True, "check": {"missing": ["3"]}}}
    page.route("**/upload", lambda route: route.fulfill(json=answer))
    send(page)
    expect(at(page, "output")).to_have_text("Please leave.")
    expect(at(page, "truncated")).to_be_visible()
    expect(at(page, "check")).to_contain_text("“3”")


def test_every_code_has_a_way_to_go_on(online: Service, visit: Visit) -> None:
    """Whatever the service answers, its sentence is shown, the recording is kept and something can be done."""
    page = visit(online, refusals_expected=True)
    bodies = iter([{"error": f"About {code}.", "code": code, "request_id": "r-1"} for code in CODES])
    page.route("**/upload", lambda route: route.fulfill(status=500, json=next(bodies)))
    at(page, "file").set_input_files(BLUNT)
    for code in CODES:
        at(page, "send").click()
        expect(at(page, "problem-message")).to_have_text(f"About {code}.")
        expect(at(page, "problem-code")).to_have_text(f"{code} · request r-1")
        expect(at(page, "problem").locator("button:visible:enabled").first).to_be_visible()
        expect(at(page, "take")).to_be_visible()


def test_an_answer_from_elsewhere_is_survived(online: Service, visit: Visit) -> None:
    """A proxy's HTML error page becomes a readable error."""
    page = visit(online, refusals_expected=True)

    def bad_gateway(route: Route) -> None:
        route.fulfill(status=502, content_type="text/html", body="<h1>Bad Gateway</h1>")

    page.route("**/upload", bad_gateway)
    send(page)
    expect(at(page, "problem-title")).to_have_text("Something went wrong")
    expect(at(page, "retry")).to_be_enabled()


# Hands, eyes and ears


def test_the_polite_text_is_copied(online: Service, visit: Visit) -> None:
    """One press puts the polite text on the clipboard."""
    page = visit(online, permissions=["clipboard-read", "clipboard-write"])
    send(page)
    at(page, "copy-output").click()
    expect(at(page, "status")).to_have_text("Copied.")
    assert page.evaluate("() => navigator.clipboard.readText()") == POLITE


def test_a_refused_clipboard_falls_back_to_the_selection(online: Service, visit: Visit) -> None:
    """Without the clipboard's consent the text is copied the old way, or at least selected."""
    page = visit(online)
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
    send(page)
    at(page, "copy-output").click()
    expect(at(page, "status")).to_have_text(re.compile("Copied|selected"))
    assert page.evaluate("() => getSelection().toString()") == POLITE


def test_everything_works_from_the_keyboard(online: Service, visit: Visit) -> None:
    """Tab, space, arrows and Enter are enough to record, choose a tone, send and reach the answer."""
    page = visit(online)
    keyboard = page.keyboard
    keyboard.press("Tab")
    expect(at(page, "record")).to_be_focused()
    keyboard.press("Space")
    expect(at(page, "clock")).to_have_text("0:01")
    keyboard.press("Space")
    expect(at(page, "send")).to_be_focused()
    keyboard.press("Shift+Tab")
    expect(at(page, "language")).to_be_focused()
    keyboard.press("Shift+Tab")
    expect(at(page, "tone-polite")).to_be_focused()
    keyboard.press("ArrowRight")
    expect(at(page, "tone-formal")).to_be_checked()
    at(page, "send").focus()
    keyboard.press("Enter")
    expect(at(page, "output")).to_have_text(POLITE)
    expect(at(page, "polite-heading")).to_be_focused()
    keyboard.press("Tab")
    expect(at(page, "copy-output")).to_be_focused()


def test_escape_cancels(connected: Start, upstreams: Upstreams, visit: Visit) -> None:
    """The focus waits on Cancel while the service works, and Escape does the same."""
    upstreams.google.always(delay(3.0))
    page = visit(connected(), refusals_expected=True)
    send(page)
    expect(at(page, "cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(at(page, "send")).to_be_focused()


def test_focus_is_visible(online: Service, visit: Visit) -> None:
    """Every control one can tab to shows an outline, on itself or on what stands for it."""
    page = visit(online)
    outlined = """() => [document.activeElement, document.activeElement.nextElementSibling]
                  .some(element => element && parseFloat(getComputedStyle(element).outlineWidth) >= 2
                                   && getComputedStyle(element).outlineStyle !== "none")"""
    reached = set()
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.id || document.activeElement.tagName"))
        assert page.evaluate(outlined)
    assert {"record", "file", "language"} <= reached


def test_a_screen_reader_finds_its_way(online: Service, visit: Visit) -> None:
    """Controls have names, progress and answers are announced politely, problems as alerts."""
    page = visit(online, refusals_expected=True)
    for role, name in [("button", "Record"), ("group", "Tone"), ("radio", "Concise"), ("combobox", "Spoken language"),
                       ("button", "Make it polite"), ("heading", "Your recording"), ("timer", "Length")]:  # fmt: skip
        expect(page.get_by_role(role, name=name).first).to_have_count(1)  # type: ignore[arg-type]  # roles are literals
    expect(page.get_by_label("Choose a file")).to_have_attribute("type", "file")
    for test_id in ("status", "transcript", "output"):
        expect(at(page, test_id)).to_have_attribute("aria-live", "polite")
    page.route("**/upload", lambda route: route.abort())
    send(page)
    expect(page.get_by_role("alert")).to_contain_text("The upload broke off")
    expect(at(page, "problem")).to_be_focused()


def test_a_phone_needs_no_sideways_scrolling(online: Service, upstreams: Upstreams, visit: Visit) -> None:
    """At 360 pixels nothing overflows: not the answer with a very long word, not a problem."""
    upstreams.chat.says = "Please mind the " + "Donaudampfschifffahrt" * 8
    page = visit(online, viewport={"width": 360, "height": 740}, refusals_expected=True)
    width = "() => document.documentElement.scrollWidth"
    assert page.evaluate(width) <= 360
    send(page)
    expect(at(page, "meta")).to_be_visible()
    assert page.evaluate(width) <= 360
    page.route("**/upload", lambda route: route.fulfill(status=500, json={"error": "x" * 300, "code": "no_speech"}))
    at(page, "send").click()
    expect(at(page, "problem")).to_be_visible()
    assert page.evaluate(width) <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_are_readable(online: Service, visit: Visit, scheme: str) -> None:
    """Each colour scheme has its own ground, and text stands out from it by 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    page = visit(online, color_scheme=scheme)
    ground = luminance(at(page, "stage").evaluate("element => getComputedStyle(element).backgroundColor"))
    assert (ground < 0.1) == (scheme == "dark")
    for test_id in ("clock", "hint", "problem-title"):
        text = luminance(at(page, test_id).evaluate("element => getComputedStyle(element).color"))
        assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 4.5


def luminance(colour: str) -> float:
    """Relative luminance of a CSS rgb() colour (WCAG 2.2)."""
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_reduced_motion_stands_still(online: Service, visit: Visit) -> None:
    """Whoever asks for less motion gets no animation."""
    page = visit(online)
    page.route("**/upload", lambda route: None)
    send(page)
    expect(at(page, "bar")).to_be_visible()
    assert page.evaluate("() => document.getAnimations().length") == 0


def test_the_page_shows_how_to_do_without_it(online: Service, visit: Visit) -> None:
    """The curl line names this origin and the choices made; the link leads to the description."""
    page = visit(online)
    page.get_by_role("radio", name="Concise").check(force=True)
    expect(at(page, "curl")).to_contain_text("-F tone=concise -F language=en-US")
    expect(at(page, "curl")).to_contain_text(f"{online.url.rstrip('/')}/upload")
    description = page.request.get(f"{online.url}/{at(page, 'openapi').get_attribute('href')}")
    assert description.json()["info"]["title"] == "Politeness Engine"


def test_the_policy_is_strict(online: Service) -> None:
    """The page is sent with a Content-Security-Policy that allows nothing inline and nothing from elsewhere."""
    policy = requests.get(online.url, timeout=10).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
