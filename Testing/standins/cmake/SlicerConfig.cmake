# Stand-in of ours for Slicer's CMake package, to configure, build and install the extension without a build of Slicer.
# It is stricter than Slicer, which takes an extension that forgets to list a file, and installs it without that file.
#
#   cmake -S . -B BUILD -DSlicer_DIR=Testing/standins/cmake && cmake --build BUILD && cmake --install BUILD --prefix TREE
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/GenerateConfig.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/CPackExtension.cmake)
set(Slicer_VERSION_MAJOR 5)
set(Slicer_VERSION_MINOR 12)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer-5.12/qt-scripted-modules)
set(Slicer_FOUND TRUE)
