"""The page of `tools/explore.py` in a real browser: Chromium without a window.

Needs gradio, selenium, and Debian's chromium and chromium-driver:
    pip install -c constraints.txt -e '.[test,explore]' selenium
    apt-get install chromium chromium-driver
    python -m pytest -m slow tests/test_explore_browser.py
"""

import base64
import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import latent_models
import numpy as np
import PIL.Image
import pytest
from exported import ROOT, networks_of

from tfstylegan import export, sampling
from tfstylegan.latents import codes as codes_lib
from tfstylegan.latents import rendering

WAIT = 60.0  # seconds for what should take less than one
ENDLESS = 100_000  # steps of a projection that no test waits for


def missing():
    """Why this cannot be tested here; empty where it can."""
    for module in ("gradio", "selenium"):
        with contextlib.suppress(ImportError):
            __import__(module)
            continue
        return f"{module} is not installed"
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    return ""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _needs_a_browser():
    reason = missing()
    if reason:
        pytest.skip(f"the page needs a browser to be tested: {reason}")


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return folder, latent_models.small_model(folder)


class Server:
    """tools/explore.py of a model, in a process of its own."""

    def __init__(self, model, log, *options):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address, self.log = f"http://127.0.0.1:{port}/", log
        command = [sys.executable, "tools/explore.py", f"--model={model}"]
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [*command, f"--port={port}", *options],
                cwd=ROOT,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait(300)
        except BaseException:
            self.process.kill()
            raise

    def _wait(self, seconds):
        end = time.monotonic() + seconds
        while self.address not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.2)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0, self.log.read_text()
        assert "Traceback" not in self.log.read_text()


@pytest.fixture(scope="module")
def server(generator, tmp_path_factory):
    folder, _ = generator
    log = tmp_path_factory.mktemp("log") / "server.txt"
    running = Server(folder, log, "--samples=500", f"--max_steps={ENDLESS}")
    yield running.address
    running.stop()


@pytest.fixture(scope="module")
def saved_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    path = export.export_saved_model(networks_of(label_dim=3), folder)
    running = Server(path, folder / "server.txt", "--samples=500")
    yield running.address
    running.stop()


class Session:
    """One user's browser."""

    def __init__(self, address, downloads):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage"):
            options.add_argument(f"--{argument}")
        options.add_argument("--window-size=1280,1400")
        folder = {"download.default_directory": str(downloads)}
        options.add_experimental_option("prefs", folder)
        service = Service(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)
        self.downloads = downloads
        self.driver.get(address)
        self.until(lambda: self.image() and self.source("A") and self.source("B"))

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def until(self, condition):
        from selenium.common import exceptions
        from selenium.webdriver.support import ui

        gone = (exceptions.StaleElementReferenceException,)
        return ui.WebDriverWait(self.driver, WAIT, 0.1, gone).until(
            lambda _: condition()
        )

    def image(self):
        return self.uri("#picture img")

    def source(self, letter):
        return self.uri(f"#picture_{letter} img")

    def uri(self, selector):
        found = self.all(selector)
        return found[0].get_attribute("src") if found else ""

    def changes(self, action):
        """The image after an action that has to change it, once it has settled."""
        before = self.image()
        action()
        self.until(lambda: self.image() not in ("", before))
        last = ""
        while last != self.image():
            last = self.image()
            time.sleep(0.5)
        return last

    def tab(self, name):
        (tab,) = [x for x in self.all("button[role=tab]") if x.text == name]
        tab.click()
        self.until(lambda: tab.get_attribute("aria-selected") == "true")

    def click(self, element):
        self.until(lambda: self.find(f"#{element}").is_displayed())
        self.find(f"#{element}").click()

    def type(self, element, value):
        from selenium.webdriver.common.keys import Keys

        field = self.find(f"#{element} input[type=number]")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(str(value), Keys.TAB)

    def value(self, element):
        return self.find(f"#{element} input[type=number]").get_attribute("value")

    def downloaded(self, button, name):
        """Bytes of the file that a click on a button saves."""
        path = self.downloads / name
        self.click(button)
        self.until(path.is_file)
        content = path.read_bytes()
        path.unlink()
        return content

    def upload(self, path):
        self.find("#upload input[type=file], input[type=file]").send_keys(str(path))

    def message(self):
        """The text of the newest message, which is then closed."""

        def text():
            found = self.all(".toast-body")
            return found[-1].text if found else ""

        said = self.until(text)
        for button in self.all(".toast-close"):
            button.click()
        self.until(lambda: not self.all(".toast-body"))
        return said


@pytest.fixture
def browse(server, tmp_path):
    """browse() opens another session."""
    with contextlib.ExitStack() as stack:
        count = 0

        def start(address=server):
            nonlocal count
            count += 1
            downloads = tmp_path / f"downloads{count}"
            downloads.mkdir()
            session = Session(address, downloads)
            stack.callback(session.driver.quit)
            return session

        yield start


def pixels(file):
    return np.asarray(PIL.Image.open(io.BytesIO(file)))


def test_browser_moves_mixes_rolls_and_downloads(browse, generator, tmp_path):
    _, g = generator
    user = browse()
    first = user.image()
    assert first == user.source("A") != user.source("B")
    truncated = user.changes(lambda: user.type("psi", 0.5))
    user.changes(lambda: user.click("mix_all"))
    assert user.image() == user.source("B")
    mixed = user.changes(lambda: user.click("mix_coarse"))
    user.tab("Noise")
    rolled = user.changes(lambda: user.click("roll2"))
    again = user.changes(lambda: user.click("roll2"))
    assert len({first, truncated, mixed, rolled, again}) == 5
    user.tab("Directions")
    user.changes(lambda: user.type("strength0", 2))
    image = pixels(user.downloaded("save_image", "seed0001-seed0002.png"))
    path = tmp_path / "latents.npz"
    path.write_bytes(user.downloaded("save_latents", "seed0001-seed0002.npz"))
    codes = codes_lib.load(path, g)
    assert codes.about["explored"]["truncation_psi"] == 0.5
    expected = sampling.to_uint8(rendering.Renderer(g).codes(codes))[0, ..., 0]
    np.testing.assert_array_equal(image, expected)
    shown = base64.b64decode(user.image().partition("base64,")[2])
    np.testing.assert_array_equal(pixels(shown), image)


def test_browser_interpolates(browse):
    user = browse()
    user.tab("Interpolate")
    user.changes(lambda: user.type("way", 0.5))
    user.changes(lambda: user.type("way", 1))
    assert user.image() == user.source("B")
    user.click("animate")
    user.until(lambda: user.uri("#animation img").startswith("data:image/gif"))


def write_image(path, size, **options):
    pixels = np.random.default_rng(0).integers(256, size=(8, 8), dtype=np.uint8)
    PIL.Image.fromarray(pixels).resize(size).save(path, **options)
    return path


def test_browser_projects_an_upload(browse, tmp_path):
    user = browse()
    seed = user.source("A")
    user.tab("Your image")
    user.click("project")
    assert "Upload an image first" in user.message()
    user.upload(write_image(tmp_path / "a.png", (40, 30)))
    user.until(lambda: user.all("#projection img"))
    user.type("steps", ENDLESS)
    user.click("project")
    user.until(lambda: user.source("A") != seed)  # what was found so far is A
    user.click("project_stop")
    time.sleep(2)
    text = user.all("#projection figcaption")[-1].text
    time.sleep(2)
    assert user.all("#projection figcaption")[-1].text == text
    assert text.startswith("step ")
    assert "my image" in user.find("#picture figcaption").text
    user.type("steps", 20)
    user.click("project")
    done = "step 20 of 20"
    user.until(lambda: user.all("#projection figcaption")[-1].text.startswith(done))
    assert user.downloaded("save_latents", "projection.npz")


def test_browser_refuses_files_that_are_no_small_images(browse, tmp_path):
    user = browse()
    user.tab("Your image")
    words = b"no picture\n" * (30_000_000 // 11)
    text = tmp_path / "text.txt"
    text.write_bytes(words)
    user.upload(text)
    assert "Invalid file type: text.txt" in user.message()
    lie = tmp_path / "lie.png"
    lie.write_bytes(words)
    user.upload(lie)
    assert "exceed the maximum allowed size of 16.0 Mb" in user.message()
    lie = tmp_path / "small_lie.png"
    lie.write_bytes(b"no picture\n" * 100)
    user.upload(lie)
    assert "not a PNG/JPEG/WEBP/BMP/GIF image" in user.message()
    user.upload(write_image(tmp_path / "wide.png", (10_000, 6_000)))
    assert "10000 x 6000 pixels" in user.message()
    assert not user.all("#projection img")


def test_server_breaks_off_what_no_browser_would_send(server):
    head = 'Content-Disposition: form-data; name="files"; filename="a.png"'
    body = f"--x\r\n{head}\r\nContent-Type: image/png\r\n\r\n".encode()
    body += b"words " * 5_000_000 + b"\r\n--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    request = urllib.request.Request(f"{server}gradio_api/upload", body, kind)
    with pytest.raises(urllib.error.URLError) as error:
        urllib.request.urlopen(request, timeout=WAIT)
    # Some are still sending when the answer comes.
    code = getattr(error.value, "code", None)
    assert code == 413 or isinstance(error.value.reason, ConnectionError)


def test_browser_sessions_do_not_see_each_other(browse, tmp_path):
    one, other = browse(), browse()
    first = other.image()
    assert one.image() == first
    changed = one.changes(lambda: one.type("seed", 7))
    one.tab("Your image")
    one.upload(write_image(tmp_path / "a.png", (16, 16)))
    one.until(lambda: one.all("#projection img"))
    one.type("steps", 10)
    one.changes(lambda: one.click("project"))
    assert other.image() == first and other.value("seed") == "1"
    other.tab("Your image")
    assert not other.all("#projection img")
    other.click("project")
    assert "Upload an image first" in other.message()
    theirs = other.changes(lambda: other.type("seed", 7))
    assert theirs == changed  # what one was told for it, before the projection
    assert "my image" in one.find("#picture figcaption").text


def test_browser_users_do_not_wait_for_a_projection(browse, tmp_path):
    one, other = browse(), browse()
    image = write_image(tmp_path / "a.png", (16, 16))
    for user in (one, other):
        user.tab("Your image")
        user.upload(image)
        user.until(lambda user=user: user.all("#projection img"))
    one.type("steps", ENDLESS)
    seed = one.source("A")
    one.click("project")
    one.until(lambda: one.source("A") != seed)
    other.changes(lambda: other.type("psi", 0.5))
    step = one.all("#projection figcaption")[-1].text
    one.until(lambda: one.all("#projection figcaption")[-1].text != step)
    one.driver.get("about:blank")  # whoever leaves ends what was begun
    other.type("steps", 3)
    other.click("project")
    done = "step 3 of 3"
    other.until(lambda: other.all("#projection figcaption")[-1].text.startswith(done))


def test_browser_of_an_exported_model_says_what_it_cannot_do(browse, saved_server):
    user = browse(saved_server)
    first = user.image()
    assert user.changes(lambda: user.click("mix_all")) == user.source("B") != first
    user.tab("Noise")
    user.changes(lambda: user.click("roll0"))
    assert "all resolutions anew" in user.find(".sentence").text
    user.tab("Your image")
    sentences = [x.text for x in user.all(".sentence") if x.is_displayed()]
    assert len(sentences) == 1 and "no gradients" in sentences[0]
    assert not user.all("#upload")
