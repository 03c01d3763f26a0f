#!/bin/sh
# Builds tf2_msgs and installs it into a virtual environment that has ROS 2 from wheels, unless it can already
# be imported there. Usage: install.sh path/to/virtual/environment
set -eu
environment=$(cd "$1" && pwd)
source_folder=$(cd "$(dirname "$0")" && pwd)
python="$environment/bin/python"

if "$python" -c "import tf2_msgs.msg" 2>/dev/null; then
    exit 0
fi
echo "tf2_msgs is in no wheel: building it (about 20 s)"
"$python" -m pip install --quiet --disable-pip-version-check -r "$source_folder/requirements.txt"

work_folder=$(mktemp -d)
trap 'rm -rf "$work_folder"' EXIT
# The code generators are scripts of the environment and are found by name.
PATH="$environment/bin:$PATH"
export PATH
{
    cmake -S "$source_folder" -B "$work_folder/build" \
        -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_INSTALL_PREFIX="$environment" \
        -DCMAKE_PREFIX_PATH="$environment" \
        -DPython3_EXECUTABLE="$python" \
    && cmake --build "$work_folder/build" --parallel \
    && cmake --install "$work_folder/build"
} > "$work_folder/log" 2>&1 || {
    cat "$work_folder/log" >&2
    echo "error: tf2_msgs could not be built; the reason is above" >&2
    exit 1
}
"$python" -c "import tf2_msgs.msg"
