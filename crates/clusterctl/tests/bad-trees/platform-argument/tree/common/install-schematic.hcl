locals {
  install_kernel_args = ["talos.platform=metal"]
}
