!> libcohort for Fortran programs: cohort/net.h by iso_c_binding. Compile this file with the
!> program. What the calls do, their errors and collectivity: see net.h and arrays.h.
!>
!> Fortran's arrays are the library's with the dimensions reversed: x(width, samples) is
!> x [samples][width]. Texts that go in end with c_null_char.
module cohort
  use, intrinsic :: iso_c_binding
  implicit none
  private
  public :: cohort_array, cohort_arrays, cohort_net_config, cohort_net_view
  public :: cohort_ok, cohort_rows_borrowed, cohort_rows_copied, cohort_rows_gathered
  public :: cohort_design_create, cohort_design_destroy, cohort_design_layer, cohort_design_set
  public :: cohort_net_create, cohort_net_load, cohort_net_destroy
  public :: cohort_net_step, cohort_net_train, cohort_net_replace
  public :: cohort_net_predict, cohort_net_save
  public :: cohort_status_exit_code, cohort_message, cohort_mpi_handle, cohort_array_of

  integer(c_int), parameter :: cohort_ok = 0
  integer(c_int), parameter :: cohort_rows_borrowed = 0, cohort_rows_copied = 1, &
       cohort_rows_gathered = 2
  integer(c_int), parameter :: float32 = 0, int32 = 1, float64 = 3

  type, bind(c) :: cohort_array
     type(c_ptr) :: values = c_null_ptr
     integer(c_int) :: type = float32
     integer(c_size_t) :: dim_count = 0
     integer(c_size_t) :: dims(7) = 0
  end type cohort_array

  type, bind(c) :: cohort_arrays
     type(cohort_array) :: x, y
     integer(c_int) :: rows = cohort_rows_borrowed
     type(c_ptr) :: classes = c_null_ptr
     integer(c_size_t) :: class_count = 0
  end type cohort_arrays

  !> recipe, recipe_file, run_folder, resume: c_loc of a text that ends with c_null_char; design:
  !> of cohort_design_create; train, validation, test: c_loc of a cohort_arrays.
  type, bind(c) :: cohort_net_config
     type(c_ptr) :: recipe = c_null_ptr, recipe_file = c_null_ptr, design = c_null_ptr
     type(c_ptr) :: sets = c_null_ptr
     integer(c_size_t) :: set_count = 0
     type(c_ptr) :: train = c_null_ptr, validation = c_null_ptr, test = c_null_ptr
     type(c_ptr) :: run_folder = c_null_ptr, resume = c_null_ptr
     type(c_ptr) :: context = c_null_ptr
     type(c_funptr) :: on_step = c_null_funptr, on_epoch = c_null_funptr, &
          on_note = c_null_funptr, should_stop = c_null_funptr
  end type cohort_net_config

  type, bind(c) :: cohort_net_view
     integer(c_int64_t) :: epoch, epochs, step, total_steps
     real(c_double) :: loss, accuracy, validation_loss, validation_accuracy
     real(c_double) :: test_loss, test_accuracy, lr, samples_per_s
     integer(c_int) :: is_over
  end type cohort_net_view

  !> The cohort_array of a contiguous Fortran array of any rank: real32, real64 or int32, which
  !> must be a target.
  interface cohort_array_of
     module procedure array_of_float, array_of_double, array_of_integer
  end interface cohort_array_of

  interface
     integer(c_int) function cohort_design_create(out) bind(c)
       import :: c_int, c_ptr
       type(c_ptr), intent(out) :: out
     end function cohort_design_create

     subroutine cohort_design_destroy(design) bind(c)
       import :: c_ptr
       type(c_ptr), value :: design
     end subroutine cohort_design_destroy

     integer(c_int) function cohort_design_layer(design, type, keys) bind(c)
       import :: c_int, c_ptr, c_char
       type(c_ptr), value :: design
       character(kind=c_char), intent(in) :: type(*), keys(*)
     end function cohort_design_layer

     integer(c_int) function cohort_design_set(design, key, value) bind(c)
       import :: c_int, c_ptr, c_char
       type(c_ptr), value :: design
       character(kind=c_char), intent(in) :: key(*), value(*)
     end function cohort_design_set

     !> mpi_comm: c_loc of what cohort_mpi_handle gives, or c_null_ptr for this process alone.
     integer(c_int) function cohort_net_create(out, mpi_comm, config) bind(c)
       import :: c_int, c_ptr, cohort_net_config
       type(c_ptr), intent(out) :: out
       type(c_ptr), value :: mpi_comm
       type(cohort_net_config), intent(in) :: config
     end function cohort_net_create

     integer(c_int) function cohort_net_load(out, mpi_comm, path) bind(c)
       import :: c_int, c_ptr, c_char
       type(c_ptr), intent(out) :: out
       type(c_ptr), value :: mpi_comm
       character(kind=c_char), intent(in) :: path(*)
     end function cohort_net_load

     subroutine cohort_net_destroy(net) bind(c)
       import :: c_ptr
       type(c_ptr), value :: net
     end subroutine cohort_net_destroy

     integer(c_int) function cohort_net_step(view, net, count) bind(c)
       import :: c_int, c_ptr, c_int64_t, cohort_net_view
       type(cohort_net_view), intent(out) :: view
       type(c_ptr), value :: net
       integer(c_int64_t), value :: count
     end function cohort_net_step

     integer(c_int) function cohort_net_train(view, net) bind(c)
       import :: c_int, c_ptr, cohort_net_view
       type(cohort_net_view), intent(out) :: view
       type(c_ptr), value :: net
     end function cohort_net_train

     integer(c_int) function cohort_net_replace(net, train) bind(c)
       import :: c_int, c_ptr, cohort_arrays
       type(c_ptr), value :: net
       type(cohort_arrays), intent(in) :: train
     end function cohort_net_replace

     !> y(outputs, samples)
     integer(c_int) function cohort_net_predict(y, net, x) bind(c)
       import :: c_int, c_ptr, c_float, cohort_array
       real(c_float), intent(inout) :: y(*)
       type(c_ptr), value :: net
       type(cohort_array), intent(in) :: x
     end function cohort_net_predict

     integer(c_int) function cohort_net_save(net, path) bind(c)
       import :: c_int, c_ptr, c_char
       type(c_ptr), value :: net
       character(kind=c_char), intent(in) :: path(*)
     end function cohort_net_save

     integer(c_int) function cohort_status_exit_code(status) bind(c)
       import :: c_int
       integer(c_int), value :: status
     end function cohort_status_exit_code

     !> The C handle of a Fortran communicator (mpi_f08: comm%mpi_val).
     type(c_ptr) function cohort_mpi_handle(comm) bind(c, name="MPI_Comm_f2c")
       import :: c_int, c_ptr
       integer(c_int), value :: comm
     end function cohort_mpi_handle

     type(c_ptr) function error_message() bind(c, name="cohort_error_message")
       import :: c_ptr
     end function error_message

     integer(c_size_t) function length_of(text) bind(c, name="strlen")
       import :: c_ptr, c_size_t
       type(c_ptr), value :: text
     end function length_of
  end interface

contains

  !> The message of the latest failure.
  function cohort_message() result(message)
    character(len=:), allocatable :: message
    character(kind=c_char), pointer :: text(:)
    integer :: i
    call c_f_pointer(error_message(), text, [length_of(error_message())])
    allocate (character(len=size(text)) :: message)
    do i = 1, size(text)
       message(i:i) = text(i)
    end do
  end function cohort_message

  type(cohort_array) function array_of_float(values) result(array)
    real(c_float), intent(in), target, contiguous :: values(..)
    array = shaped(c_loc(values), float32, shape(values))
  end function array_of_float

  type(cohort_array) function array_of_double(values) result(array)
    real(c_double), intent(in), target, contiguous :: values(..)
    array = shaped(c_loc(values), float64, shape(values))
  end function array_of_double

  type(cohort_array) function array_of_integer(values) result(array)
    integer(c_int32_t), intent(in), target, contiguous :: values(..)
    array = shaped(c_loc(values), int32, shape(values))
  end function array_of_integer

  type(cohort_array) function shaped(values, kind, extents) result(array)
    type(c_ptr), intent(in) :: values
    integer(c_int), intent(in) :: kind
    integer, intent(in) :: extents(:)
    array%values = values
    array%type = kind
    array%dim_count = size(extents)
    array%dims(:size(extents)) = extents(size(extents):1:-1)
  end function shaped

end module cohort
