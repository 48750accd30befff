# spack repo add launch/packages/spack
# spack dev-build --source-path . cohort@0.1.0     (in the top folder of the sources)
# spack load cohort

from spack.package import *


class Cohort(CMakePackage):
    """Distributed data-parallel neural-network training on CPU clusters, with the same result on
    any number of ranks; federated and private training."""

    license("BSD-3-Clause")

    # Built from a folder (spack dev-build); no archive is published yet.
    version("0.1.0")

    variant("onednn", default=True, description="Use oneDNN's convolutions where they are faster")

    depends_on("c", type="build")
    depends_on("cmake@3.25:", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("openmpi@4.1:4")
    depends_on("openblas threads=openmp")
    depends_on("hdf5")
    depends_on("libyaml")
    depends_on("jansson@2.13:")
    depends_on("libsodium")
    depends_on("zlib-api")
    depends_on("libpng")
    depends_on("libjpeg-turbo")
    depends_on("onednn@2.6:2", when="+onednn")

    def cmake_args(self):
        return [
            self.define_from_variant("COHORT_ONEDNN", "onednn"),
            self.define("COHORT_TESTS", False),
        ]
