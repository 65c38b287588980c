locals {
  source = "build"
}
