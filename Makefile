# `make help` lists the targets. Everything happens in one virtual environment, .venv, which `make venv` fills.

SHELL := /bin/sh
.SHELLFLAGS := -ec
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
VENV_PYTHON := $(CURDIR)/$(VENV)/bin/python
COLCON := $(VENV_PYTHON) -m colcon
TEST_RESULT := build/hyperpose_ros/pytest.xml

# Runs at the same time on one machine must not hear each other.
ROS_DOMAIN_ID ?= $(shell echo $$(( $$$$ % 100 + 1 )))
export ROS_DOMAIN_ID := $(ROS_DOMAIN_ID)
# torch's threads would otherwise spin while other processes wait for the core.
export OMP_WAIT_POLICY ?= passive

# .venv has its own ROS 2. A distribution's that was sourced in this shell would be mixed with it, and the mark of
# another environment's wheels would keep this one from finding its libraries.
unexport PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH
# Every test starts processes; each would compile this package anew.
unexport PYTHONDONTWRITEBYTECODE
unexport ROS_DISTRO RMW_IMPLEMENTATION _ROS_WHEELS_BOOTSTRAP_COMPLETE
ifdef AMENT_PREFIX_PATH
unexport LD_LIBRARY_PATH
endif

.PHONY: help venv build test test-slow lint format docs demo kidnap drift pictures benchmark gpu soak overload fuzz clean

help:  ## Say what there is
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

venv: $(VENV)/made.package  ## Make .venv with ROS 2, torch and all the rest (once: about 7.5 GB)

# A stamp file a step: what is up to date is not done again.
$(VENV)/made.environment:
	@$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv $(VENV)
	touch $(VENV)/COLCON_IGNORE $@

$(VENV)/made.requirements: $(VENV)/made.environment requirements.txt
	$(VENV_PYTHON) -m pip install --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/made.interfaces: $(VENV)/made.requirements $(wildcard interfaces/tf2_msgs/* interfaces/tf2_msgs/msg/*)
	interfaces/tf2_msgs/install.sh $(VENV)
	touch $@

$(VENV)/made.package: $(VENV)/made.interfaces setup.py setup.cfg pyproject.toml package.xml $(wildcard launch/* config/* config/*/*)
	$(VENV_PYTHON) -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	touch $@

build: venv
	$(COLCON) build

ifdef FILES
test: venv  ## Check the style, build with colcon and run the tests with `colcon test`; FILES="test/test_x.py ..." for these alone
	$(VENV_PYTHON) -m pytest $(FILES)
else
test: lint build
	rm -f $(TEST_RESULT)
	$(COLCON) test --event-handlers console_direct+
	$(COLCON) test-result --verbose
	@grep -q "<testcase" $(TEST_RESULT) || { echo "error: no test was run" >&2; exit 1; }
endif

test-slow: venv  ## Run the tests that `make test` leaves out since they take long
	$(VENV_PYTHON) -m pytest -m slow

lint: venv  ## Check style (ruff), types (mypy) and whether docs/parameters.md is current
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy
	$(VENV_PYTHON) -m hyperpose_ros.parameters.reference --check

format: venv  ## Put the code into the project's style
	$(VENV_PYTHON) -m ruff check --fix .
	$(VENV_PYTHON) -m ruff format .

docs: venv  ## Write docs/parameters.md from the parameters' declarations
	$(VENV_PYTHON) -m hyperpose_ros.parameters.reference

demo: venv  ## Simulate a town, train on it, drive through it with the node and write a report
	$(VENV_PYTHON) -m hyperpose_ros.demo.run

pictures: venv  ## Draw the pictures of the README into docs/images, after `make demo`
	$(VENV_PYTHON) tools/pictures.py

kidnap: venv  ## After demo: carry the robot about 50 times and see how soon it says where it is (OPTIONS=--help)
	$(VENV_PYTHON) -m benchmarks.kidnap $(OPTIONS)

drift: venv  ## After demo: drive with wheels that drift, and hold map -> base_link against the truth (OPTIONS=--help)
	$(VENV_PYTHON) -m benchmarks.drift $(OPTIONS)

benchmark: venv  ## Measure speed, size and memory side by side and write benchmarks/results.md (OPTIONS=--help)
	$(VENV_PYTHON) -m benchmarks.run $(OPTIONS)

gpu: venv  ## Run the CUDA tests and measure networks and training on a card for MINUTES=8; writes gpu/gpu.md
	$(VENV_PYTHON) -m benchmarks.gpu --output $(or $(OUTPUT),gpu) --minutes $(or $(MINUTES),8)

soak: venv  ## Watch the localizer at 30 Hz for MINUTES=10: memory, latency, counters
	$(VENV_PYTHON) benchmarks/soak.py --minutes $(or $(MINUTES),10)

overload: venv  ## The same at 60 Hz, more than two cores can answer, for MINUTES=2
	$(VENV_PYTHON) benchmarks/soak.py --minutes $(or $(MINUTES),2) --rate 60

fuzz: venv  ## Damage files and messages at random for MINUTES=5 and say what fell (SEED=...)
	cd test && $(VENV_PYTHON) -m fuzz.run --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED))

clean:  ## Remove what was built (.venv and the demo's results stay)
	rm -rf build install log *.egg-info .mypy_cache .pytest_cache .ruff_cache
